"""The commands: parse, make one call, print. Heavy things are imported inside, so that --help is quick."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shouldtune import __version__
from shouldtune.errors import BudgetError, CannotMeasure, InputError, ShouldTuneError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shouldtune.asked import Climb
    from shouldtune.rechecking import Outcome, Recheck
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
MaxCalls = Annotated[
    int | None, typer.Option("--max-calls", min=0, help="New calls that this run may make; then it ends in order.")
]
MaxMinutes = Annotated[
    float | None, typer.Option("--max-minutes", min=0.0, help="Minutes after which this run begins nothing more.")
]
PriceOption = Annotated[
    str | None,
    typer.Option("--price", metavar="READ,WRITTEN", help="What the prompted model costs, dollars per million tokens."),
]
NoPriceLimit = Annotated[
    bool, typer.Option("--no-price-limit", help="Run although a price is not known; then the budget does not hold.")
]
BudgetOption = Annotated[
    float | None, typer.Option("--budget", min=0.0, help="Dollars that the calls of all runs of this task may cost.")
]
YesOption = Annotated[
    bool, typer.Option("--yes", help="Training data may be sent to the provider that `tune` names; do not ask.")
]
OnOption = Annotated[
    str | None,
    typer.Option("--on", metavar="ray[://HOST:PORT]", help="Spread local models over a Ray cluster's workers."),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Workers for each model; else as many as there is room for.")]
PerWorkerCpus = Annotated[float, typer.Option("--per-worker-cpus", min=0.0, help="Cores that a worker takes.")]
PerWorkerGpus = Annotated[float, typer.Option("--per-worker-gpus", min=0.0, help="GPUs, or a part of one: 0.5.")]
NoProbes = Annotated[bool, typer.Option("--no-probes", help="Do not ask why the best prompt's failures fail.")]
GOAL_MISSED = PARITY_FAILED = 100
CHANGED, GOAL_MISSED_AGAIN = 100, 101
"""Exit codes of `recheck`."""
FAIL_ON = ("changed", "goal_missed", "nothing")


def _keys_from(path: Path | None) -> Path | None:
    if path is not None:
        from shouldtune.models.api_keys import load_env_file

        load_env_file(path)
    return path


EnvFile = Annotated[
    Path | None,
    typer.Option(
        callback=_keys_from, is_eager=True, help="A file of KEY=VALUE lines with providers' keys; the environment wins."
    ),
]


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
    env_file: EnvFile = None,
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
    budget: BudgetOption = None,
    max_calls: MaxCalls = None,
    max_minutes: MaxMinutes = None,
    price: PriceOption = None,
    no_price_limit: NoPriceLimit = False,
    forecast: Forecast = False,
    no_probes: NoProbes = False,
    fail_on: Annotated[str | None, typer.Option(help="`goal`: exit with 100 when the goal is not met.")] = None,
    allow_simulated: Annotated[
        bool, typer.Option("--allow-simulated", help="Let a scripted model lead to a verdict.")
    ] = False,
    env_file: EnvFile = None,
    on: OnOption = None,
    workers: Workers = None,
    per_worker_cpus: PerWorkerCpus = 1.0,
    per_worker_gpus: PerWorkerGpus = 0.0,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Climb the ladder for a task until the answer is clear. A run that was cut off goes on."""
    if fail_on not in (None, "goal"):
        raise InputError(f"--fail-on {fail_on} is not known", hint="--fail-on goal")
    from shouldtune.asked import Climb
    from shouldtune.probing import Probing
    from shouldtune.task import load_task
    from shouldtune.workers import On

    probing = None if no_probes else Probing()
    how = Climb(_rungs(rungs), all_rungs, allow_simulated, whole_holdout, probing, forecast or None)
    where = On.parse(on, workers, per_worker_cpus, per_worker_gpus)
    how = replace(how, price_limit=not no_price_limit, on=where)
    loaded = load_task(task, model, tune, budget, max_calls, max_minutes, _price(price))
    how = replace(how, may_send=_may_send(loaded, how, yes=yes))
    record = _climb_and_show(loaded, how, as_json=json)
    if (record.verdict.provenance.get("budget") or {}).get("ended"):
        _budget_ended(loaded, how, record)
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


@app.command()
def recheck(  # noqa: PLR0913, PLR0917  the options of a command are its arguments
    run: Annotated[Path, typer.Argument(help="A finished run's folder, or a task's folder for its newest.")],
    task: Annotated[Path | None, typer.Argument(help="The task's folder, where the run does not lie in it.")] = None,
    model: ModelOption = None,
    tune: TuneOption = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Under this: goal.quality=0.8")
    ] = None,
    kept: Annotated[
        Path | None, typer.Option(help="What `serve --keep FILE` has kept: answers that were put right are examples.")
    ] = None,
    dry: Annotated[bool, typer.Option("--dry", help="Say what has changed and what it would take.")] = False,
    budget: BudgetOption = None,
    max_calls: MaxCalls = None,
    max_minutes: MaxMinutes = None,
    price: PriceOption = None,
    no_price_limit: NoPriceLimit = False,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(help="`changed` (the default): exit with 100; `goal_missed`: with 101; `nothing`."),
    ] = None,
    env_file: EnvFile = None,
    yes: YesOption = False,
    json: JsonOption = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Markdown on stdout, for a comment.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML for a build server to this file.")] = None,
) -> None:
    """Months later: does a run's verdict still stand? Measures again only what has changed."""
    import asyncio

    from shouldtune.rechecking import look_again
    from shouldtune.report import rechecks
    from shouldtune.task import load_task

    failing = _fail_on(fail_on)
    limits = (budget, max_calls, max_minutes, _price(price))
    found = asyncio.run(look_again(run, task, lambda p, e: load_task(p, model, tune, *limits, e), changes or (), kept))
    found = replace(found, how=replace(found.how, price_limit=not no_price_limit))
    if not (json or markdown):
        typer.echo(rechecks.look_to_text(found), nl=False)
    outcome = None if dry else _measure_again(found, yes=yes)
    if json:
        typer.echo(rechecks.recheck_to_json(found, outcome), nl=False)
    elif markdown:
        typer.echo(rechecks.recheck_to_markdown(found, outcome), nl=False)
    elif outcome is not None:
        typer.echo(f"\n{rechecks.outcome_to_text(found, outcome)}", nl=False)
    if outcome is None:
        return
    if junit is not None:
        from shouldtune.report.junit import to_junit

        told = outcome.stands if outcome.measured else None
        _write(junit, to_junit(outcome.now, (told, rechecks.outcome_to_text(found, outcome))))
        _say(f"wrote {junit}")
    _end_of_recheck(found, outcome, failing)


@app.command()
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
        _say(f"{path}: {before:,} bytes before, {after:,} now")
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


@app.command()
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
    start(run, rung, name, address, read_keys(key_env, key_file), limits, keep, _say)


@app.command()
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

    done = write(run, to, Wish(rung, out, not no_parity, sample, force), _say)
    typer.echo(exported_to_json(done) if json else exported_to_text(done), nl=False)
    if done.parity.outcome == "failed":
        raise typer.Exit(PARITY_FAILED)


def _export(lines: Iterator[str], path: Path) -> None:
    from shouldtune.files import write_whole

    if str(path) != "-":
        write_whole(path, lines)
        return
    for line in lines:
        typer.echo(line, nl=False)


def _load(task: Path, model: str | None = None, tune: str | None = None) -> LoadedTask:
    from shouldtune.task import load_task

    return load_task(task, model, tune)


def _price(text: str | None) -> tuple[float, float] | None:
    """Dollars per million tokens, read and written."""
    if text is None:
        return None
    try:
        read, written = (float(part) for part in text.split(","))
    except ValueError:
        read = written = -1.0
    if not (0 <= read <= 1e9 and 0 <= written <= 1e9):
        raise InputError(f"--price {text} is no price", hint="READ,WRITTEN in dollars per million tokens: 0.25,2")
    return read, written


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


def _budget_ended(loaded: LoadedTask, how: Climb, record: RunRecord) -> None:
    """Exit with 3: what ended the run, and what the rest would take, as far as a plan tells."""
    from shouldtune.asked import dollars_so_far
    from shouldtune.report.budgets import ended, rest

    spent = dollars_so_far(loaded)[0]
    because, hint = ended(record.verdict.provenance["budget"], spent)
    raise BudgetError(because, hint=f"{hint}{rest(loaded, how)}")


def _rungs(names: str | None) -> tuple[Rung, ...]:
    from shouldtune.asked import chosen_rungs
    from shouldtune.rungs import LADDER

    return chosen_rungs([name.strip() for name in names.split(",")]) if names else LADDER


def _fail_on(asked: list[str] | None) -> list[str]:
    for name in asked or ():
        if name not in FAIL_ON:
            raise InputError(f"--fail-on {name} is not known", hint=f"one of {', '.join(FAIL_ON)}")
    return asked or ["changed"]


def _measure_again(found: Recheck, *, yes: bool) -> Outcome:
    import asyncio

    from shouldtune.rechecking import measure_again
    from shouldtune.report.live import progress_for

    if found.same:
        return asyncio.run(measure_again(found))
    _say_code()
    found = replace(found, how=replace(found.how, may_send=_may_send(found.loaded, found.how, yes=yes)))
    with progress_for(sys.stderr) as progress:
        outcome = asyncio.run(measure_again(found, progress))
    _write_page(outcome.now, outcome.now.folder / "report.html")
    return outcome


def _end_of_recheck(found: Recheck, outcome: Outcome, failing: list[str]) -> None:
    """The exit code: what could not be measured first, for then nothing can be told."""
    if (outcome.now.verdict.provenance.get("budget") or {}).get("ended"):
        _budget_ended(found.loaded, found.how, outcome.now)
    if not outcome.measured:
        hint = "mend what failed and re-check again; what was measured is kept"
        raise CannotMeasure("it cannot be told whether the verdict stands", where=outcome.now.folder, hint=hint)
    if "changed" in failing and not outcome.stands:
        raise typer.Exit(CHANGED)
    if "goal_missed" in failing and outcome.meets_goal is False:
        raise typer.Exit(GOAL_MISSED_AGAIN)


def _say_code() -> None:
    from shouldtune.user_code import loaded_files

    for file in loaded_files:
        _say(f"runs your code: {file}")


def _climb_and_show(loaded: LoadedTask, how: Climb, *, as_json: bool) -> RunRecord:
    import asyncio

    from shouldtune.ladder import climb
    from shouldtune.report.live import progress_for

    _say_code()
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


if __name__ == "__main__":
    main()
