"""From a climb that has ended to its verdict."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from shouldtune.ascent import Ascent
from shouldtune.errors import CannotMeasure
from shouldtune.judgement import Verdict
from shouldtune.looks import looks_path, write_down
from shouldtune.measure import overall
from shouldtune.run import models_folder, save_inquiry, save_measurements
from shouldtune.types import Measurement
from shouldtune.verdict.decide import decide
from shouldtune.verdict.questions import ENDS_THE_CLIMB
from shouldtune.verdict.race import gather_raced, why_stopped
from shouldtune.verdict.sensitivity import flips
from shouldtune.verdict.shelf_life import shelf_life

FEWEST_ROWS = 40


def conclude(ascent: Ascent) -> Verdict:
    """Write down what was measured, and decide. CannotMeasure where a model was asked and never answered."""
    case = ascent.case(ascent.inquirer.inquiry)
    measured, ended = list(case.measurements), case.budget_ended
    if ascent.how.whole_holdout and not ended:
        measured = [replace(m, raced_over=None) for m in measured]
    else:
        evidence = gather_raced(case.goal, case.columns, ascent.waiting())
        stopped = (why_stopped(evidence, c, budget_ended=ended) for c in case.columns)
        measured = [replace(m, stopped_because=why) for m, why in zip(measured, stopped, strict=True)]
    measured = [_with_overall(ascent, m) for m in measured]
    save_measurements(ascent.folder, measured)
    save_inquiry(ascent.folder, case.inquiry)
    case = replace(case, measurements=measured)
    if measured:
        write_down(looks_path(ascent.loaded.folder), ascent.look)
    alpha = round(1 - case.goal.confidence, 12)
    told = {
        **ascent.asked,
        "planned": list(case.planned),
        "trains": list(case.trains),
        "look": ascent.look.number,
        "alpha": alpha,
    }
    if ascent.ledger.budget is not None:
        told["budget"] = ascent.ledger.budget.plain()
    verdict = decide(case, spent=ascent.ledger.spent(), simulated=ascent.simulated, provenance=told)
    if verdict.reason not in ENDS_THE_CLIMB:
        _refuse_when_nothing_answered(measured)
    verdict = replace(verdict, sensitivity=flips(case))
    return replace(verdict, shelf_life=shelf_life(verdict, told))


def _with_overall(ascent: Ascent, measurement: Measurement) -> Measurement:
    """With what the scorer says of all its answers together: once, and kept, for judging again knows no scorer."""
    scorer, holdout = ascent.loaded.task.scorer, ascent.loaded.holdout
    return replace(measurement, overall=overall(scorer, holdout, measurement.predictions))


def too_few_rows(ascent: Ascent) -> Verdict:
    """The verdict that needs no measuring."""
    n = len(ascent.loaded.task.train) + len(ascent.loaded.holdout)
    return Verdict(
        answer="not_yet",
        reason="label_more",
        rung=None,
        because=(
            f"There are {n} examples; with fewer than {FEWEST_ROWS} no approach can be told from another,"
            " so nothing was asked.",
            f"Label {FEWEST_ROWS - n} more, better a few hundred.",
        ),
        rungs=(),
        simulated=ascent.simulated,
        provenance=ascent.asked,
    )


def save_winner(folder: Path, verdict: Verdict) -> None:
    """A copy of the model to ship, so that it can be handed on as one folder."""
    winner = folder / "winner"
    shutil.rmtree(winner, ignore_errors=True)
    if verdict.rung is not None and models_folder(folder, verdict.rung).is_dir():
        shutil.copytree(models_folder(folder, verdict.rung), winner)


def _refuse_when_nothing_answered(measurements: Sequence[Measurement]) -> None:
    """A verdict needs at least one answer of a model: with none, what is broken is the model, not the approach."""
    asked = (p.completion for m in measurements if m.uses_llm for p in m.predictions)
    first = next(asked, None)
    if first is not None and first.failed and all(completion.failed for completion in asked):
        raise CannotMeasure(
            f"every call failed; the first: {first.error}",
            hint="what was measured is kept; run again when the model answers",
        )
