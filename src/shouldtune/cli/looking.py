"""Commands that ask no model and spend nothing: init, check, plan, ledger, report, view."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shouldtune.cli.options import (
    AllRungs,
    EnvFile,
    Forecast,
    JsonOption,
    ModelOption,
    NoProbes,
    RungsOption,
    TaskArgument,
    TuneOption,
    WholeHoldout,
    load,
    rungs_named,
)
from shouldtune.cli.telling import print_json, say, show, write, write_page
from shouldtune.errors import CannotMeasure

if TYPE_CHECKING:
    from collections.abc import Iterator


def init(
    data: Annotated[Path, typer.Argument(help="Your examples: .jsonl, .csv or .parquet.")],
    documents: Annotated[
        Path | None,
        typer.Option(
            help="Documents that answers may be drawn from; `documents/` or `docs.jsonl` beside the data is found."
        ),
    ] = None,
) -> None:
    """Look at the data and write a shouldtune.yaml beside it."""
    from shouldtune.scaffold import write_task_file

    path, guessed = write_task_file(data, documents)
    say(f"wrote {path}: {guessed.kind}, scored by `{guessed.scorer}` ({guessed.why})")
    say(f"next: read it, then `shouldtune check {path.parent}`")


def check(task: TaskArgument, json: JsonOption = False) -> None:
    """Look at the data before anything is spent: do the targets pass, can a constant win, what can this n prove?"""
    import asyncio

    from shouldtune.checks import check as look
    from shouldtune.inquiring import data_findings
    from shouldtune.report.findings import findings_to_json, findings_to_text

    loaded = load(task)
    findings = (*asyncio.run(look(loaded)), *asyncio.run(data_findings(loaded)))
    if not json:
        say("\n".join(loaded.notes))
    typer.echo(findings_to_json(findings) if json else findings_to_text(findings), nl=False)


def plan(  # noqa: PLR0913, PLR0917  the options of a command are its arguments
    task: TaskArgument,
    model: ModelOption = None,
    tune: TuneOption = None,
    rungs: RungsOption = None,
    all_rungs: AllRungs = False,
    whole_holdout: WholeHoldout = False,
    forecast: Forecast = False,
    no_probes: NoProbes = False,
    env_file: EnvFile = None,
    json: JsonOption = False,
) -> None:
    """What would run, its price, its time and what it could show. Asks no model, spends nothing."""
    import asyncio

    from shouldtune.asked import Climb
    from shouldtune.planning import plan as planned
    from shouldtune.probing import Probing
    from shouldtune.report.plans import plan_to_json, plan_to_text

    how = Climb(rungs_named(rungs), all_rungs, False, whole_holdout, None if no_probes else Probing(), forecast or None)
    loaded = load(task, model, tune)
    found = asyncio.run(planned(loaded, how))
    if not json:
        say("\n".join(loaded.notes))
    typer.echo(plan_to_json(found) if json else plan_to_text(found), nl=False)


def ledger(
    task: TaskArgument,
    check: Annotated[bool, typer.Option("--check", help="Is the file whole, and every answer readable?")] = False,
    compact: Annotated[bool, typer.Option("--compact", help="Make the file as small as it can be.")] = False,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write every answer as JSON lines; - for stdout.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Every call of every run of a task: by rung and purpose, tokens, dollars, what is unknown. Asks no model."""
    from shouldtune.asked import price_at
    from shouldtune.models import audit
    from shouldtune.report import ledgers
    from shouldtune.run import ledger_path
    from shouldtune.task.file import read_task_file

    folder = task if task.is_dir() else task.parent
    path = ledger_path(folder)
    if compact:
        before, after = audit.compact(path)
        say(f"{path}: {before:,} bytes before, {after:,} now")
    elif export is not None:
        _export(audit.lines_of(path), export)
    elif check:
        wrong = audit.problems(path)
        typer.echo(ledgers.problems_to_json(wrong) if json else ledgers.problems_to_text(wrong), nl=False)
        if wrong:
            raise CannotMeasure("the ledger is not sound", where=path, hint="move it away to start a new one")
    else:
        found = audit.accounts_of(path, price_at(read_task_file(task), folder))
        typer.echo(ledgers.accounts_to_json(found) if json else ledgers.accounts_to_text(found), nl=False)


def report(
    run: Annotated[Path, typer.Argument(help="A run's folder, or a task's folder for its newest run.")],
    json: JsonOption = False,
    html: Annotated[Path | None, typer.Option(help="Write the page to this file.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Markdown on stdout, for a pull request.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML for a build server to this file.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write every example with every rung's answer to this file.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Judge again under this, for nothing: goal.quality=0.8"),
    ] = None,
) -> None:
    """Show a finished run: in the terminal, as JSON, Markdown, JUnit or CSV, or as one self-contained page."""
    from shouldtune.run import load_run

    record = load_run(run)
    if changes:
        from shouldtune.rejudge import judge_again

        record = judge_again(record, changes)
    if html is not None:
        write_page(record, html)
    if junit is not None:
        from shouldtune.report.junit import to_junit

        write(junit, to_junit(record))
    if csv is not None:
        from shouldtune.report.spreadsheet import to_csv

        write(csv, to_csv(record))
    for written in filter(None, (html, junit, csv)):
        say(f"wrote {written}")
    if json:
        print_json(record)
    elif markdown:
        from shouldtune.report.markdown import to_markdown

        typer.echo(to_markdown(record), nl=False)
    elif not (html or junit or csv):
        show(record)


def view(
    run: Annotated[Path, typer.Argument(help="A run's folder, or a task's folder for its newest run.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Show the report's page while the run goes on, to this machine's browser alone. Reads, and writes nothing."""
    from shouldtune.run import newest_run
    from shouldtune.viewing import view as serve

    folder = newest_run(run)

    def ready(address: str) -> None:
        typer.echo(address)
        say(f"shows {folder}; Ctrl-C ends it")
        if open_browser:
            typer.launch(address)

    serve(folder, port, ready)


def _export(lines: Iterator[str], path: Path) -> None:
    from shouldtune.files import write_whole

    if str(path) != "-":
        write_whole(path, lines)
        return
    for line in lines:
        typer.echo(line, nl=False)
