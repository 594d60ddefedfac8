"""What commands print and write. Results go to stdout, words beside them to stderr."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from shouldtune.run import RunRecord


def say(text: str) -> None:
    """Words beside the result: stderr, so that stdout holds data alone."""
    from shouldtune.report.words import printable

    typer.echo(printable(text), err=True)


def say_code() -> None:
    from shouldtune.user_code import loaded_files

    for file in loaded_files:
        say(f"runs your code: {file}")


def write_page(record: RunRecord, path: Path) -> None:
    from shouldtune.report.page import to_html

    write(path, to_html(record))


def write(path: Path, text: str) -> None:
    from shouldtune.files import write_whole

    write_whole(path, text)


def print_json(record: RunRecord) -> None:
    from shouldtune.verdict.plain import verdict_to_json

    typer.echo(verdict_to_json(record.verdict), nl=False)


def show(record: RunRecord) -> None:
    from rich.console import Console

    from shouldtune.report.terminal import show

    show(record, Console())
