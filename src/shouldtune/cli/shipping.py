"""Commands that put the winner to use: serve, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shouldtune.cli.options import JsonOption
from shouldtune.cli.telling import say

EXITS = {"failed": 100, "not_shown": 101}
"""By what came of scoring an export again."""


def serve(  # noqa: PLR0913, PLR0917  the options of a command are its arguments
    run: Annotated[Path, typer.Argument(help="A finished run's folder, or a task's folder for its newest.")],
    rung: Annotated[str | None, typer.Option(help="Serve this rung's model instead of the winner.")] = None,
    name: Annotated[str | None, typer.Option(help="The model's name for clients; else the task's.")] = None,
    host: Annotated[str, typer.Option(help="Where to listen; other machines need a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name that requests may call this server by: NAME or NAME:PORT.")
    ] = None,
    key_env: Annotated[str | None, typer.Option(help="The environment variable that holds the key.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="A file of keys, one a line.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="No answer is longer.")] = 1024,
    queue: Annotated[int, typer.Option(min=1, help="Requests in the house at once; one more gets a 429.")] = 256,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for an answer, waiting included.")] = 120.0,
    keep: Annotated[
        Path | None, typer.Option(help="Keep requests and answers in this file, and feedback beside it; needs a key.")
    ] = None,
) -> None:
    """Serve a finished run's winner as an OpenAI-compatible server, on this machine alone unless told otherwise."""
    from shouldtune.serving import Address, read_keys, start
    from shouldtune.serving.limits import Limits

    address = Address(host, port, tuple(allow_host or ()))
    limits = Limits(max_tokens=max_tokens, at_once=queue, answer_s=timeout)
    start(run, rung, name, address, read_keys(key_env, key_file), limits, keep, say)


def export(
    run: Annotated[Path, typer.Argument(help="A finished run's folder, or a task's folder for its newest.")],
    to: Annotated[str, typer.Option("--to", metavar="FORM", help="prompt, jsonl, peft, merged, vllm or ollama.")],
    rung: Annotated[str | None, typer.Option(help="Export this rung's model instead of the winner.")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder to write; else one inside the run's.")] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Score again on so many held-out examples only; else on all of the run's.")
    ] = None,
    no_parity: Annotated[bool, typer.Option("--no-parity", help="Do not score it again.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over an export that is there.")] = False,
    json: JsonOption = False,
) -> None:
    """Write a run's winner in a form that other tools take, and score it again through that form."""
    from shouldtune.exporting import Wish
    from shouldtune.exporting import export as write
    from shouldtune.report.exports import exported_to_json, exported_to_text

    done = write(run, to, Wish(rung, out, not no_parity, sample, force), say)
    typer.echo(exported_to_json(done) if json else exported_to_text(done), nl=False)
    if done.parity.outcome in EXITS:
        raise typer.Exit(EXITS[done.parity.outcome])
