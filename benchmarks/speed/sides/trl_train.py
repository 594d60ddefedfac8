"""TRL's SFTTrainer with peft: the same texts, order, batch size and constant rate; its best setting on a CPU."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer
from turns import take_turns

job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
tokenizer = AutoTokenizer.from_pretrained(job["folder"])
rows = [{"prompt": row["prompt_text"], "completion": row["answer_text"]} for row in job["rows"]]
on_cpu = job.get("device", "cpu") == "cpu"


def work() -> dict[str, Any]:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(job["folder"], dtype=torch.float32)
    settings = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=8,
        num_train_epochs=1,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        logging_steps=1,
        save_strategy="no",
        train_sampling_strategy="sequential",
        shuffle_dataset=False,
        report_to="none",
        max_length=512,
        use_cpu=on_cpu,
        bf16=job["dtype"] == "bfloat16",
        gradient_checkpointing=False,
        disable_tqdm=True,
        weight_decay=0.0,
    )
    trainer = SFTTrainer(
        model=PeftModel.from_pretrained(model, job["adapter"], is_trainable=True),
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    import time

    start = time.perf_counter()
    trainer.train()
    alone = time.perf_counter() - start
    losses = [round(entry["loss"], 4) for entry in trainer.state.log_history if "loss" in entry]
    return {"losses": losses, "train_seconds": alone}


take_turns(work)
