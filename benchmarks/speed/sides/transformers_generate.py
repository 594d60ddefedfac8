"""transformers' generate in batches of 16, padded on the left."""

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
model.to(job.get("device", "cpu"))


@torch.inference_mode()
def generate(prompts: list[list[int]], new: int) -> list[list[int]]:
    answers: list[list[int]] = []
    for start in range(0, len(prompts), 16):
        batch = prompts[start : start + 16]
        width = max(map(len, batch))
        ids = torch.tensor([[2] * (width - len(each)) + each for each in batch], device=model.device)
        mask = torch.tensor([[0] * (width - len(each)) + [1] * len(each) for each in batch], device=model.device)
        made = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=new, min_new_tokens=new, do_sample=False, pad_token_id=2
        )
        answers += made[:, width:].tolist()
    return answers


def work() -> dict[str, Any]:
    return {"first": [ids[:4] for ids in generate(job["prompts"], job["new"])[:3]]}


generate([job["prompts"][0][:40]], 4)
take_turns(work)
