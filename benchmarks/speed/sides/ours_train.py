"""Our LoRA step on all linear layers: batch 8, the batches in the given order."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from turns import take_turns

from shouldtune.models.engine import prepare_process

prepare_process()
import torch
from safetensors.torch import load_file

from shouldtune.models.adapter import WEIGHTS
from shouldtune.models.llama import Llama
from shouldtune.tuning.trainable import TrainableLora
from shouldtune.tuning.training import Text, accumulate

job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
device = job.get("device", "cpu")
model = Llama(Path(job["folder"]), dtype=getattr(torch, job["dtype"]), device=device)
texts = [Text(tuple(row["prompt"]), tuple(row["answer"])) for row in job["rows"]]


def first() -> TrainableLora:
    """The adapter that every side starts from."""
    lora = TrainableLora(model, job["rank"], job["alpha"], seed=0)
    saved = load_file(Path(job["adapter"]) / WEIGHTS)
    for name, master in lora.tensors().items():
        master.copy_(saved[name])
    lora.refresh()
    return lora


def work() -> dict[str, Any]:
    lora = first()
    losses = []
    for start in range(0, len(texts), 8):
        losses.append(round(accumulate(lora, texts[start : start + 8]), 4))
        lora.step(1e-3)
    return {"losses": losses}


accumulate(first(), texts[:2])
take_turns(work)
