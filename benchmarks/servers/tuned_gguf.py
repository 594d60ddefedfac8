"""Whether llama.cpp, by which Ollama runs, answers from an exported `tuned.gguf` as our engine does with the adapter.

The embedded model with a random LoRA on all linear layers, as strong as a training's; greedy answers word for word.
`adapter seen`: how often the adapter changes our own answer. `rows unordered`: the same file with the rows of q and k
left in Hugging Face's order, which must do worse, or this check sees nothing.

    python benchmarks/servers/tuned_gguf.py [--prompts 40] [--tokens 12]        # after make bench-servers
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from agreement import ASKED, HERE, SERVER, THINGS, answers, equal

from shouldtune.exporting import tuned_gguf
from shouldtune.exporting.merging import merged_weights
from shouldtune.exporting.turns import turns_of, turns_of_go
from shouldtune.models.adapter import SETTINGS, WEIGHTS, fused_linears, peft_name, peft_settings
from shouldtune.models.chat_tokenizer import ChatTokenizer
from shouldtune.models.gguf_cache import smollm2_gguf
from shouldtune.models.llama_config import LlamaConfig
from shouldtune.models.local import open_local
from shouldtune.types import Message, Options

STRENGTH = 0.15
"""Of a weight's own spread, what the adapter adds."""


def write_random_adapter(base: Path, folder: Path, rank: int = 16, alpha: int = 32) -> None:
    """A LoRA adapter in peft's format that changes every linear layer."""
    from safetensors import safe_open
    from safetensors.numpy import save_file

    config, draw, found = LlamaConfig.read(base), np.random.default_rng(0), {}
    with safe_open(base / "model.safetensors", "pt") as weights:
        for layer in range(config.layers):
            for fused in fused_linears(config).values():
                for part in fused.parts:
                    spread = weights.get_tensor(f"model.layers.{layer}.{part.module}.weight").float().std().item()
                    down = draw.standard_normal((rank, fused.inputs))
                    up = draw.standard_normal((part.outputs, rank)) * STRENGTH * spread / (alpha / rank) / rank**0.5
                    found[peft_name(layer, part.module, "A")] = down.astype(np.float32)
                    found[peft_name(layer, part.module, "B")] = up.astype(np.float32)
    save_file(found, folder / WEIGHTS)
    (folder / SETTINGS).write_text(json.dumps(peft_settings(rank, alpha, "smollm2")), encoding="utf-8")


def llama_cpp(gguf: Path, prompts: Sequence[str], tokens: int) -> tuple[list[str], list[int]]:
    """(llama.cpp's greedy answers, how many tokens it read of each prompt)."""
    command = [str(SERVER), str(HERE / "llama_server.py"), str(gguf)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None and server.stdin is not None
    texts, read = [], []
    try:
        next(line for line in server.stdout if line.startswith("ready"))
        for prompt in prompts:
            body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "cache_prompt": False}
            server.stdin.write(json.dumps(body) + "\n")
            server.stdin.flush()
            reply: Any = json.loads(next(line for line in server.stdout if line.startswith("{")))
            texts.append(reply["choices"][0]["text"])
            read.append(reply["usage"]["prompt_tokens"])
    finally:
        server.kill()
        server.wait()
    return texts, read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--engine", default="torch-fp32", help="ours: torch-bf16 rounds oftener than llama.cpp does")
    chosen = parser.parse_args()
    if not SERVER.exists():
        sys.exit(f"{SERVER} is missing; hint: make bench-servers")
    base, gguf = open_local("smollm2", chosen.engine), smollm2_gguf()
    folder = base.identity.folder
    tokenizer = ChatTokenizer(folder)
    made = turns_of(tokenizer)
    assert made is not None
    turns = turns_of_go(made.go())  # as a Modelfile carries it
    assert turns is not None
    chats = [[Message("system", "Answer shortly."), Message("user", a.format(t))] for a in ASKED for t in THINGS]
    chats = chats[:: max(1, len(chats) // chosen.prompts)][: chosen.prompts]
    prompts = [turns.render([{"role": m.role, "content": m.content} for m in chat]) for chat in chats]
    options = Options(max_tokens=chosen.tokens)
    with tempfile.TemporaryDirectory() as scratch:
        adapter, tuned, wrong = (Path(scratch) / name for name in ("adapter", "tuned.gguf", "wrong.gguf"))
        adapter.mkdir()
        write_random_adapter(folder, adapter)
        head_width = LlamaConfig.read(folder).head_width
        tuned_gguf.write_tuned_gguf(gguf, merged_weights(folder, adapter), head_width, tuned)
        tuned_gguf.write_tuned_gguf(gguf, merged_weights(folder, adapter), 2, wrong)  # heads of two: nothing moves
        ours, ours_tuned = (
            [c.text for c in asyncio.run(answers(model, chats, options, 32))]
            for model in (base, base.with_adapter(adapter))
        )
        there, read = llama_cpp(gguf, prompts, chosen.tokens)
        there_tuned, _ = llama_cpp(tuned, prompts, chosen.tokens)
        there_wrong, _ = llama_cpp(wrong, prompts, chosen.tokens)
        sizes = [round(path.stat().st_size / 1e6, 1) for path in (gguf, tuned)]
    told = {
        "prompts": len(prompts),
        "tokens": chosen.tokens,
        "engine": base.identity.engine.name,
        "MB, base and tuned": sizes,
        "prompt tokens equal": sum(n == len(tokenizer.encode(p)) for n, p in zip(read, prompts, strict=True)),
        "equal, base": equal(there, ours),
        "equal, tuned": equal(there_tuned, ours_tuned),
        "equal, tuned, rows unordered": equal(there_wrong, ours_tuned),
        "equal, our own with and without the adapter": equal(ours, ours_tuned),
        "an answer": [ours[0], there[0], ours_tuned[0], there_tuned[0], there_wrong[0]],
    }
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
