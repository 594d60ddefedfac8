"""Commands that ask a model: demo, run, recheck."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shouldtune.cli.options import (
    AllRungs,
    BudgetOption,
    EnvFile,
    Forecast,
    JsonOption,
    MaxCalls,
    MaxMinutes,
    ModelOption,
    NoPriceLimit,
    NoProbes,
    OnOption,
    PerWorkerCpus,
    PerWorkerGpus,
    PriceOption,
    RungsOption,
    TaskArgument,
    TuneOption,
    WholeHoldout,
    Workers,
    YesOption,
    load,
    price_of,
    rungs_named,
)
from shouldtune.cli.telling import print_json, say, say_code, show, write, write_page
from shouldtune.errors import BudgetError, CannotMeasure, InputError

if TYPE_CHECKING:
    from shouldtune.asked import Climb
    from shouldtune.rechecking import Outcome, Recheck
    from shouldtune.run import RunRecord
    from shouldtune.task import LoadedTask

GOAL_MISSED = 100
CHANGED, GOAL_MISSED_AGAIN = 100, 101
"""Exit codes of `recheck`."""
FAIL_ON = ("changed", "goal_missed", "nothing")


def demo(
    folder: Annotated[Path, typer.Option(help="Where the bundled task is laid out and run.")] = Path("demo"),
    json: JsonOption = False,
) -> None:
    """Run a bundled real task on the embedded model, to a verdict and a report. Spends nothing."""
    from shouldtune.asked import Climb
    from shouldtune.demo import FEWER_PROBES, ladder, lay_out

    how = Climb(ladder(), all_rungs=True, probing=FEWER_PROBES)
    _climb_and_show(load(lay_out(folder)), how, as_json=json)


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
    how = Climb(rungs_named(rungs), all_rungs, allow_simulated, whole_holdout, probing, forecast or None)
    where = On.parse(on, workers, per_worker_cpus, per_worker_gpus)
    how = replace(how, price_limit=not no_price_limit, on=where)
    loaded = load_task(task, model, tune, budget, max_calls, max_minutes, price_of(price))
    how = replace(how, may_send=may_send(loaded, how, yes=yes))
    record = _climb_and_show(loaded, how, as_json=json)
    if (record.verdict.provenance.get("budget") or {}).get("ended"):
        budget_ended(loaded, how, record)
    if fail_on == "goal" and not any(rung.meets_goal for rung in record.verdict.rungs):
        raise typer.Exit(GOAL_MISSED)


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
    limits = (budget, max_calls, max_minutes, price_of(price))
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

        told = outcome.stands is not False if outcome.measured else None
        write(junit, to_junit(outcome.now, (told, rechecks.outcome_to_text(found, outcome))))
        say(f"wrote {junit}")
    _end_of_recheck(found, outcome, failing)


def _climb_and_show(loaded: LoadedTask, how: Climb, *, as_json: bool) -> RunRecord:
    import asyncio

    from shouldtune.ladder import climb
    from shouldtune.report.live import progress_for

    say_code()
    say("\n".join(loaded.notes))
    with progress_for(sys.stderr) as progress:
        record = asyncio.run(climb(loaded, how, progress))
    write_page(record, record.folder / "report.html")
    if as_json:
        print_json(record)
    else:
        show(record)
    return record


def may_send(loaded: LoadedTask, how: Climb, *, yes: bool) -> bool:
    """Tell what training would send away, and ask whether it may; False where nobody can be asked, or they say no."""
    import asyncio

    from shouldtune.planning.leaving import was_agreed, what_leaves, write_agreed
    from shouldtune.report.leaving import leaving_to_lines

    leaving = asyncio.run(what_leaves(loaded, how))
    if leaving is None:
        return False
    say("\n".join(leaving_to_lines(leaving)))
    if yes or was_agreed(loaded, leaving):
        write_agreed(loaded, leaving)
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()) or not typer.confirm("Send it?", err=True):
        return False
    write_agreed(loaded, leaving)
    return True


def budget_ended(loaded: LoadedTask, how: Climb, record: RunRecord) -> None:
    """Exit with 3: what ended the run, and what the rest would take, as far as a plan tells."""
    from shouldtune.asked import dollars_so_far
    from shouldtune.report.budgets import ended, rest

    spent = dollars_so_far(loaded)[0]
    because, hint = ended(record.verdict.provenance["budget"], spent)
    raise BudgetError(because, hint=f"{hint}{rest(loaded, how)}")


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
    say_code()
    found = replace(found, how=replace(found.how, may_send=may_send(found.loaded, found.how, yes=yes)))
    with progress_for(sys.stderr) as progress:
        outcome = asyncio.run(measure_again(found, progress))
    write_page(outcome.now, outcome.now.folder / "report.html")
    return outcome


def _end_of_recheck(found: Recheck, outcome: Outcome, failing: list[str]) -> None:
    """The exit code: what could not be measured first, for then nothing can be told."""
    if (outcome.now.verdict.provenance.get("budget") or {}).get("ended"):
        budget_ended(found.loaded, found.how, outcome.now)
    if not outcome.measured:
        hint = "mend what failed and re-check again; what was measured is kept"
        raise CannotMeasure("it cannot be told whether the verdict stands", where=outcome.now.folder, hint=hint)
    if "changed" in failing and outcome.stands is False:
        raise typer.Exit(CHANGED)
    if "goal_missed" in failing and outcome.meets_goal is False:
        raise typer.Exit(GOAL_MISSED_AGAIN)
