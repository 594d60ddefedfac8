"""Our label trie: every label of every prompt scored in one pass."""

from __future__ import annotations

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
from shouldtune.models.label_trie import LabelTrie
from shouldtune.models.llama import Llama

job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
model = Llama(Path(job["folder"]), dtype=getattr(torch, job["dtype"]))
trie = LabelTrie.of(job["labels"], 2)


def work() -> dict[str, Any]:
    requests = [Request(ids, 8, labels=trie) for ids in job["prompts"]]
    answers = Generator(model, lambda ids: "").generate(requests)
    return {"best": [job["labels"].index(list(answer.ids)) for answer in answers], "nodes": len(trie.tokens)}


Generator(model, lambda ids: "").generate([Request(job["prompts"][0][:40], 4, labels=trie)])
take_turns(work)
