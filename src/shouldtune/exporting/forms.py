"""The forms that an export can have: what each refuses, writes, and how it is read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from shouldtune.exporting import modelfile, ollama_reading, training_rows, uses, weights, weights_reading
from shouldtune.exporting.parity import Parity, Readback
from shouldtune.exporting.prompt_files import write_prompt
from shouldtune.exporting.reading import read_prompt_back
from shouldtune.exporting.searching import refuse_other_searches
from shouldtune.exporting.source import Source


def _nothing_to_score(source: Source, folder: Path) -> Parity:
    return Parity("not_scored", ("there is nothing to score in it",))


@dataclass(frozen=True)
class Form:
    """One form."""

    name: str
    refuse: Callable[[Source], None]
    """InputError where this form cannot carry it."""
    write: Callable[[Source, Path], None]
    read_back: Callable[[Source, Path], Readback] | None
    """None where it holds nothing that answers."""
    use: Callable[[Source], str]
    """How to use it, in Markdown, for its model card."""
    library: str | None = None
    """Hugging Face's `library_name`."""
    rows: bool = False
    """Whether it is made of the task's rows, which must be those that the run had."""
    looked_at: Callable[[Source, Path], Parity] = _nothing_to_score


_ALL = (
    Form("prompt", refuse_other_searches, write_prompt, read_prompt_back, uses.prompt),
    Form(
        "jsonl",
        training_rows.refuse_other_lessons,
        training_rows.write_rows,
        None,
        uses.jsonl,
        rows=True,
        looked_at=training_rows.look_at_rows,
    ),
    Form("peft", weights.refuse_untrained, weights.write_peft, weights_reading.read_peft_back, uses.peft, "peft"),
    Form(
        "merged",
        weights.refuse_untrained,
        weights.write_merged,
        weights_reading.read_merged_back,
        uses.merged,
        "transformers",
    ),
    Form("vllm", weights.refuse_elsewhere, weights.write_vllm, weights_reading.read_vllm_back, uses.vllm, "vllm"),
    Form("ollama", modelfile.refuse, modelfile.write_ollama, ollama_reading.read_ollama_back, uses.ollama),
)
FORMS: Mapping[str, Form] = {form.name: form for form in _ALL}
