"""Our engine: prompts as token ids, a fixed number of new tokens, nothing remembered between turns."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from turns import take_turns

from shouldtune.models.engine import prepare_process

prepare_process()
import torch

from shouldtune.models.decoding import Request
from shouldtune.models.generation import Generator
from shouldtune.models.llama import Llama

job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
model = Llama(Path(job["folder"]), dtype=getattr(torch, job["dtype"]), device=job.get("device", "cpu"))
model.config = dataclasses.replace(model.config, eos=())


def work() -> dict[str, Any]:
    answers = Generator(model, lambda ids: "").generate([Request(ids, job["new"]) for ids in job["prompts"]])
    return {"first": [answer.ids[:4] for answer in answers[:3]]}


Generator(model, lambda ids: "").generate([Request(job["prompts"][0][:40], 4)])
take_turns(work)
