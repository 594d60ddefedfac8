"""The forms that an export can have: what each refuses, writes, and how it is read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from shouldtune.exporting.parity import Parity, Readback
from shouldtune.exporting.prompt_files import refuse_what_a_prompt_cannot_carry, write_prompt
from shouldtune.exporting.reading import read_prompt_back
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
    looked_at: Callable[[Source, Path], Parity] = _nothing_to_score


USE_PROMPT = """\
```python
from prompt import REQUEST, messages

client.chat.completions.create(model=..., messages=messages(text), **REQUEST)
```"""


def _use_prompt(source: Source) -> str:
    return USE_PROMPT


_ALL = (
    Form(
        "prompt",
        refuse_what_a_prompt_cannot_carry,
        write_prompt,
        read_prompt_back,
        _use_prompt,
    ),
)
FORMS: Mapping[str, Form] = {form.name: form for form in _ALL}
