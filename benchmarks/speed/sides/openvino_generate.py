"""openvino-genai's continuous batching with prefix caching, on a float16 GGUF: it reads the shipped Q4_1 wrongly."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as genai
from turns import take_turns

job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
scheduler = genai.SchedulerConfig()
scheduler.enable_prefix_caching = True
scheduler.max_num_seqs = 100
scheduler.cache_size = 2
scheduler.max_num_batched_tokens = 1024
pipeline = genai.ContinuousBatchingPipeline(job["gguf"], scheduler, "CPU")
turns = itertools.count()


def generate(prompts: list[list[int]], new: int) -> list[list[int]]:
    config = genai.GenerationConfig()
    config.max_new_tokens = config.min_new_tokens = new
    config.ignore_eos, config.do_sample, config.apply_chat_template = True, False, False
    tensors = [ov.Tensor(np.array([ids], dtype=np.int64)) for ids in prompts]
    return [list(result.m_generation_ids[0]) for result in pipeline.generate(tensors, [config] * len(tensors))]


def work() -> dict[str, Any]:
    turn = next(turns)
    prompts = [[100 + turn, *ids[1:]] for ids in job["prompts"]]  # so that nothing is remembered from the last turn
    if job["shared"]:
        generate([prompts[0][: job["shared"]]], 1)
    return {"first": [ids[:4] for ids in generate(prompts, job["new"])[:3]]}


generate([job["prompts"][0][:40]], 4)
take_turns(work)
