"""transformers: the prompt's keys and values computed once and expanded over all labels, a careful user's way."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from turns import take_turns

job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
model = AutoModelForCausalLM.from_pretrained(job["folder"], dtype=getattr(torch, job["dtype"])).eval()
labels = [[*ids, 2] for ids in job["labels"]]
longest = max(map(len, labels))
padded = torch.tensor([ids + [2] * (longest - len(ids)) for ids in labels])


@torch.inference_mode()
def best(prompt: list[int]) -> int:
    read = model(input_ids=torch.tensor([prompt]), use_cache=True, logits_to_keep=1)
    cache = read.past_key_values
    cache.batch_repeat_interleave(len(labels))
    first = read.logits[0, -1].float().log_softmax(-1)
    later = model(input_ids=padded, past_key_values=cache).logits.float().log_softmax(-1)
    scores = [
        first[ids[0]] + sum(later[row, at, token] for at, token in enumerate(ids[1:])) for row, ids in enumerate(labels)
    ]
    return int(torch.stack(scores).argmax())


def work() -> dict[str, Any]:
    return {"best": [best(ids) for ids in job["prompts"]]}


take_turns(work)
