"""The commands: parse, make one call, print. Heavy things are imported inside, so that --help is quick."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shouldtune import __version__
from shouldtune.errors import BudgetError, InputError, ShouldTuneError

if TYPE_CHECKING:
    from shouldtune.asked import Climb
    from shouldtune.run import RunRecord
    from shouldtune.task import LoadedTask
    from shouldtune.types import Rung

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Should you fine-tune a model? Climb the ladder from the cheapest approach, measure each, and decide.",
)

TaskArgument = Annotated[Path, typer.Argument(help="A task's folder or its shouldtune.yaml.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else there.")]
ModelOption = Annotated[str | None, typer.Option(help="The model to prompt, instead of the task file's.")]
TuneOption = Annotated[str | None, typer.Option(help="The model to fine-tune, instead of the task file's.")]
RungsOption = Annotated[str | None, typer.Option(help="Only these rungs, with commas between.")]
AllRungs = Annotated[
    bool, typer.Option("--all-rungs", help="Measure every rung, also when the answer is already clear.")
]
WholeHoldout = Annotated[
    bool, typer.Option("--whole-holdout", help="Ask every rung every held-out example; stop none early.")
]
Forecast = Annotated[
    bool,
    typer.Option("--forecast", help="Measure a learning curve before a fine-tune: what would more bring?"),
]
NoProbes = Annotated[bool, typer.Option("--no-probes", help="Do not ask why the best prompt's failures fail.")]
GOAL_MISSED = 100


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the bundled task is laid out and run.")] = Path("demo"),
    json: JsonOption = False,
) -> None:
    """Run a bundled real task on the embedded model, to a verdict and a report. Spends nothing."""
    from shouldtune.asked import Climb
    from shouldtune.demo import FEWER_PROBES, ladder, lay_out

    how = Climb(ladder(), all_rungs=True, probing=FEWER_PROBES)
    _climb_and_show(_load(lay_out(folder)), how, as_json=json)


@app.command()
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
    _say(f"wrote {path}: {guessed.kind}, scored by `{guessed.scorer}` ({guessed.why})")
    _say(f"next: read it, then `shouldtune check {path.parent}`")


@app.command()
def check(task: TaskArgument, json: JsonOption = False) -> None:
    """Look at the data before anything is spent: do the targets pass, can a constant win, what can this n prove?"""
    import asyncio

    from shouldtune.checks import check as look
    from shouldtune.inquiring import data_findings
    from shouldtune.report.findings import findings_to_json, findings_to_text

    loaded = _load(task)
    findings = (*asyncio.run(look(loaded)), *asyncio.run(data_findings(loaded)))
    if not json:
        _say("\n".join(loaded.notes))
    typer.echo(findings_to_json(findings) if json else findings_to_text(findings), nl=False)


@app.command()
def plan(  # noqa: PLR0913, PLR0917  the options of a command are its arguments
    task: TaskArgument,
    model: ModelOption = None,
    tune: TuneOption = None,
    rungs: RungsOption = None,
    all_rungs: AllRungs = False,
    whole_holdout: WholeHoldout = False,
    forecast: Forecast = False,
    no_probes: NoProbes = False,
    json: JsonOption = False,
) -> None:
    """What would run, its price, its time and what it could show. Asks no model, spends nothing."""
    import asyncio

    from shouldtune.asked import Climb
    from shouldtune.planning import plan as planned
    from shouldtune.probing import Probing
    from shouldtune.report.plans import plan_to_json, plan_to_text

    how = Climb(_rungs(rungs), all_rungs, False, whole_holdout, None if no_probes else Probing(), forecast or None)
    loaded = _load(task, model, tune)
    found = asyncio.run(planned(loaded, how))
    if not json:
        _say("\n".join(loaded.notes))
    typer.echo(plan_to_json(found) if json else plan_to_text(found), nl=False)


@app.command()
def run(  # noqa: PLR0913, PLR0917  the options of a command are its arguments
    task: TaskArgument,
    model: ModelOption = None,
    tune: TuneOption = None,
    rungs: RungsOption = None,
    all_rungs: AllRungs = False,
    whole_holdout: WholeHoldout = False,
    budget: Annotated[
        float | None, typer.Option(min=0.0, help="Dollars that the calls of all runs of this task may cost.")
    ] = None,
    forecast: Forecast = False,
    no_probes: NoProbes = False,
    fail_on: Annotated[str | None, typer.Option(help="`goal`: exit with 100 when the goal is not met.")] = None,
    allow_simulated: Annotated[
        bool, typer.Option("--allow-simulated", help="Let a scripted model lead to a verdict.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Training data may be sent to the provider that `tune` names; do not ask.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Climb the ladder for a task until the answer is clear. A run that was cut off goes on."""
    if fail_on not in (None, "goal"):
        raise InputError(f"--fail-on {fail_on} is not known", hint="--fail-on goal")
    from shouldtune.asked import Climb
    from shouldtune.probing import Probing

    how = Climb(
        _rungs(rungs), all_rungs, allow_simulated, whole_holdout, None if no_probes else Probing(), forecast or None
    )
    loaded = _load(task, model, tune, budget)
    how = replace(how, may_send=_may_send(loaded, how, yes=yes))
    record = _climb_and_show(loaded, how, as_json=json)
    if (record.verdict.provenance.get("budget") or {}).get("ended"):
        _budget_ended(loaded)
    if fail_on == "goal" and not any(rung.meets_goal for rung in record.verdict.rungs):
        raise typer.Exit(GOAL_MISSED)


@app.command()
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
        _say(f"shows {folder}; Ctrl-C ends it")
        if open_browser:
            typer.launch(address)

    serve(folder, port, ready)


@app.command()
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
        _write_page(record, html)
    if junit is not None:
        from shouldtune.report.junit import to_junit

        _write(junit, to_junit(record))
    if csv is not None:
        from shouldtune.report.spreadsheet import to_csv

        _write(csv, to_csv(record))
    for written in filter(None, (html, junit, csv)):
        _say(f"wrote {written}")
    if json:
        _print_json(record)
    elif markdown:
        from shouldtune.report.markdown import to_markdown

        typer.echo(to_markdown(record), nl=False)
    elif not (html or junit or csv):
        _show(record)


def _load(task: Path, model: str | None = None, tune: str | None = None, budget: float | None = None) -> LoadedTask:
    from shouldtune.task import load_task

    return load_task(task, model=model, tune=tune, budget=budget)


def _may_send(loaded: LoadedTask, how: Climb, *, yes: bool) -> bool:
    """Tell what training would send away, and ask whether it may; False where nobody can be asked, or they say no."""
    import asyncio

    from shouldtune.planning.leaving import was_agreed, what_leaves, write_agreed
    from shouldtune.report.leaving import leaving_to_lines

    leaving = asyncio.run(what_leaves(loaded, how))
    if leaving is None:
        return False
    _say("\n".join(leaving_to_lines(leaving)))
    if yes or was_agreed(loaded, leaving):
        write_agreed(loaded, leaving)
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()) or not typer.confirm("Send it?", err=True):
        return False
    write_agreed(loaded, leaving)
    return True


def _budget_ended(loaded: LoadedTask) -> None:
    from shouldtune.asked import dollars_so_far

    spent, most = dollars_so_far(loaded)[0], loaded.file.budget or 0.0
    raise BudgetError(
        f"the budget ended: ${spent:,.4g} of ${most:,.4g} is spent on this task, and the next call may not fit",
        hint="what was measured is kept; the same command with a higher --budget goes on from there",
    )


def _rungs(names: str | None) -> tuple[Rung, ...]:
    from shouldtune.asked import chosen_rungs
    from shouldtune.rungs import LADDER

    return chosen_rungs([name.strip() for name in names.split(",")]) if names else LADDER


def _climb_and_show(loaded: LoadedTask, how: Climb, *, as_json: bool) -> RunRecord:
    import asyncio

    from shouldtune.ladder import climb
    from shouldtune.report.live import progress_for
    from shouldtune.user_code import loaded_files

    for file in loaded_files:
        _say(f"runs your code: {file}")
    _say("\n".join(loaded.notes))
    with progress_for(sys.stderr) as progress:
        record = asyncio.run(climb(loaded, how, progress))
    _write_page(record, record.folder / "report.html")
    if as_json:
        _print_json(record)
    else:
        _show(record)
    return record


def _write_page(record: RunRecord, path: Path) -> None:
    from shouldtune.report.page import to_html

    _write(path, to_html(record))


def _write(path: Path, text: str) -> None:
    from shouldtune.files import write_whole

    write_whole(path, text)


def _print_json(record: RunRecord) -> None:
    from shouldtune.verdict.plain import verdict_to_json

    typer.echo(verdict_to_json(record.verdict), nl=False)


def _show(record: RunRecord) -> None:
    from rich.console import Console

    from shouldtune.report.terminal import show

    show(record, Console())


def _say(text: str) -> None:
    """Words beside the result: stderr, so that stdout holds data alone."""
    from shouldtune.report.words import printable

    typer.echo(printable(text), err=True)


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


def main() -> None:
    """Run a command; our own errors print as one line and a hint, bugs keep their traceback."""
    try:
        app()
    except ShouldTuneError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        if error.hint:
            sys.stderr.write(f"hint: {error.hint}\n")
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; what was measured is kept: run the same command to go on\n")
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
