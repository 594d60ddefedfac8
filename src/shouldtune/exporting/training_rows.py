"""Training data for other trainers: the rows that training here reads, in the prompt that is asked later.

TRL's conversational prompt-completion: https://huggingface.co/docs/trl/dataset_formats
Axolotl's `chat_template`: https://docs.axolotl.ai/docs/dataset-formats/conversation.html
OpenAI's chat format: https://platform.openai.com/docs/guides/supervised-fine-tuning
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from shouldtune.errors import InputError
from shouldtune.exporting.asking import plain
from shouldtune.exporting.parity import Parity
from shouldtune.exporting.searching import refuse_searches
from shouldtune.exporting.source import Source
from shouldtune.models.prompted import Prompted
from shouldtune.rungs.trained import conversations
from shouldtune.types import Conversation

# A file of one's own has the one split `train`, whatever it is for: axolotl looks for `test` where nothing is said.
AXOLOTL = """\
datasets:
  - path: axolotl.train.jsonl
    ds_type: json
    split: train
    type: chat_template
    field_messages: messages
    roles_to_train: [assistant]
test_datasets:
  - path: axolotl.validation.jsonl
    ds_type: json
    split: train
    type: chat_template
    field_messages: messages
    roles_to_train: [assistant]
"""


def refuse_other_lessons(source: Source) -> None:
    """InputError where training texts are not the prompt and the target."""
    if source.measurement.training:
        refuse_searches(source)
    if source.rung == "distil":
        raise InputError(
            "distil learns from the strong model's answers, which this export cannot carry",
            where=source.record.folder,
            hint="--rung fine_tune, or another rung, gives the rows with their targets",
        )


def lesson_of(source: Source) -> tuple[list[Conversation], list[Conversation]]:
    """(to train on, to choose settings on): never a held-out row. A rung that trained has its own prompt, another the
    task's instruction alone: examples shown in a prompt are what training takes the place of."""
    task = source.task.task
    prompt = source.prompt if source.measurement.training else Prompted(source.model, task.instruction)
    pool, unseen = task.halves()
    return conversations(pool, prompt), conversations(unseen, prompt)


def trl(each: Conversation) -> dict[str, Any]:
    return {"prompt": plain(each.messages), "completion": [{"role": "assistant", "content": each.answer}]}


def chat(each: Conversation) -> dict[str, Any]:
    return {"messages": [*plain(each.messages), {"role": "assistant", "content": each.answer}]}


WRITERS: dict[str, Callable[[Conversation], dict[str, Any]]] = {"trl": trl, "axolotl": chat, "openai": chat}


def write_rows(source: Source, folder: Path) -> None:
    """NAME.train.jsonl and NAME.validation.jsonl for each trainer, and Axolotl's lines of configuration."""
    for half, rows in zip(("train", "validation"), lesson_of(source), strict=True):
        for name, row in WRITERS.items():
            text = "".join(json.dumps(row(each), ensure_ascii=False) + "\n" for each in rows)
            (folder / f"{name}.{half}.jsonl").write_text(text, encoding="utf-8")
    (folder / "axolotl.yaml").write_text(AXOLOTL, encoding="utf-8")


def look_at_rows(source: Source, folder: Path) -> Parity:
    """Training data answers nothing, so there is no score: what can be told is whether the rows are the run's."""
    held, wrong, count = {example.input for example in source.record.holdout}, [], 0
    for half, rows in zip(("train", "validation"), lesson_of(source), strict=True):
        for name, row in WRITERS.items():
            path = folder / f"{name}.{half}.jsonl"
            read = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
            count += len(read)
            if read != [row(each) for each in rows]:
                wrong.append(f"{path.name} does not hold the rows that training reads")
            if any(_last_input(each) in held for each in read):
                wrong.append(f"{path.name} holds a held-out example")
    if wrong:
        return Parity("failed", tuple(wrong), "the files read back")
    said = f"{count} rows read back: those that training reads, none of them held out; training data has no score"
    return Parity("not_scored", (said,), "the files read back")


def _last_input(row: dict[str, Any]) -> str:
    turns: Sequence[dict[str, str]] = row.get("prompt") or row["messages"][:-1]
    return turns[-1]["content"]
