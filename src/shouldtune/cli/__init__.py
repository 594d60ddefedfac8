"""The commands: parse, make one call, print. Heavy things are imported inside, so that --help is quick."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from shouldtune import __version__
from shouldtune.cli import climbing, looking, shipping
from shouldtune.errors import ShouldTuneError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Should you fine-tune a model? Climb the ladder from the cheapest approach, measure each, and decide.",
)


for command in (
    climbing.demo,
    looking.init,
    looking.check,
    looking.plan,
    climbing.run,
    looking.view,
    looking.report,
    climbing.recheck,
    looking.ledger,
    shipping.serve,
    shipping.export,
):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


INTERRUPTED = 130
"""What typer makes of an interrupt."""


def main() -> None:
    """Run a command; our own errors print as one line and a hint, bugs keep their traceback."""
    try:
        app()
    except ShouldTuneError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        if error.hint:
            sys.stderr.write(f"hint: {error.hint}\n")
        raise SystemExit(error.exit_code) from None
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            sys.stderr.write("interrupted; what was measured is kept: run the same command to go on\n")
        raise
