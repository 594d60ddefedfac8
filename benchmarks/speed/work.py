"""The work that both sides are given: token ids, the same for every engine."""

from __future__ import annotations

import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from shouldtune.models.chat_tokenizer import ChatTokenizer
from shouldtune.models.engine import Engine
from shouldtune.models.llama_config import LlamaConfig
from shouldtune.models.local import open_local
from shouldtune.types import Message

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
DTYPE = Engine.fastest().dtype
"""Both sides compute in the type that this CPU is quickest with."""


def model_folder() -> Path:
    """The embedded model as a Hugging Face folder."""
    return open_local("smollm2").identity.folder


def rows(task: str) -> list[dict[str, str]]:
    """The rows of a bundled example, in a seeded order."""
    found = [json.loads(line) for line in (EXAMPLES / task / "examples.jsonl").read_text(encoding="utf-8").splitlines()]
    return random.Random(0).sample(found, len(found))


def write(work: Any) -> str:
    """The work as a file; returns its name."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump(work, file)
    return file.name


def shared_prefix(count: int, length: int = 634) -> tuple[list[int], list[list[int]]]:
    """A prefix of some 634 tokens (instruction and shots), and prompts' own tokens after it."""
    tokenizer = ChatTokenizer(model_folder())
    some = rows("python-api")
    messages = [Message("system", "Answer with the one call of Python's standard library that does this.")]
    taken = 0
    while len(tokenizer.prompt([*messages, Message("user", "x")])) < length:
        messages += [Message("user", some[taken]["input"]), Message("assistant", some[taken]["target"])]
        taken += 1
    prompts = [tokenizer.prompt([*messages, Message("user", row["input"])]) for row in some[taken : taken + count]]
    common = min(next(i for i, (a, b) in enumerate(zip(prompts[0], p, strict=False)) if a != b) for p in prompts[1:])
    return list(prompts[0][:common]), [list(prompt[common:]) for prompt in prompts]


def distinct(count: int, length: int = 161) -> list[list[int]]:
    """Prompts of about `length` tokens with nothing long in common."""
    tokenizer = ChatTokenizer(model_folder())
    draw = random.Random(1)
    inputs = [row["input"] for row in rows("python-api")]
    prompts = []
    while len(prompts) < count:
        text = draw.choice(inputs)
        while len(tokenizer.encode(text)) < length - 35:
            text += "\n" + draw.choice(inputs)
        prompts.append(list(tokenizer.prompt([Message("user", text)])))
    return prompts


def peak_flops() -> float:
    """Operations a second of the best matrix product that torch does here, of this model's shapes and type."""
    import torch

    x, weight = (torch.randn(size, 576).to(getattr(torch, DTYPE)) for size in (2048, 3072))
    product = torch.ops.mkldnn._linear_pointwise
    with torch.inference_mode():
        ordered = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        seconds = []
        for _ in range(60):
            start = time.perf_counter()
            product(x, ordered, None, "none", [], "")
            seconds.append(time.perf_counter() - start)
    return 2 * x.numel() * len(weight) / min(seconds)


def weights() -> tuple[int, int]:
    """Parameters that a token is multiplied with: in the blocks, and in the head."""
    config = LlamaConfig.read(model_folder())
    attention = config.width * config.head_width * (2 * config.heads + 2 * config.kv_heads)
    return config.layers * (attention + 3 * config.width * config.mlp_width), config.width * config.vocabulary


def generation_flops(prompts: list[list[int]], new: int, shared: int) -> float:
    """The products that cannot be saved: what is shared once, each token's blocks, a head for each answer token."""
    blocks, head = weights()
    read = shared + sum(len(ids) - shared for ids in prompts) + len(prompts) * (new - 1)
    return 2.0 * (read * blocks + len(prompts) * new * head)


def training_flops(texts: list[dict[str, Any]], shared: int, batch: int) -> float:
    """Forward and the gradient of what went in, a batch's shared prefix once; LoRA's own products are left out."""
    blocks, head = weights()
    tokens = sum(len(text["prompt"]) + len(text["answer"]) - 1 - shared for text in texts)
    answers = sum(len(text["answer"]) for text in texts)
    return 4.0 * ((tokens + shared * len(texts) / batch) * blocks + answers * head)
