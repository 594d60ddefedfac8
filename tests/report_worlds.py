"""Runs built by hand, for the tests of the report: what each one should say is known."""

from __future__ import annotations

import math
import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from shouldtune.causes import (
    Ahead,
    Diagnosed,
    Doubt,
    ExamplesUntil,
    Flaw,
    Forecasted,
    Forgetting,
    Kept,
    Miss,
    MoreShots,
    Probe,
    Seen,
    Segment,
    Share,
)
from shouldtune.judgement import Comparison, Economics, Flip, Interval, MoneyTable, RungResult, Verdict
from shouldtune.measure import mean_score
from shouldtune.run import RunRecord
from shouldtune.types import Completion, Example, Measurement, Prediction, Score, Spent, Trial
from shouldtune.verdict.economics import Money, break_even, price, rung_cost


@dataclass(frozen=True)
class Approach:
    """One rung of a made-up ladder: how often it is right, and what it takes."""

    name: str
    skill: float
    seconds: float
    training: bool = False
    uses_llm: bool = True
    fails: float = 0.0
    tokens: float | None = 240.0
    cost: float | None = None
    trials: int = 1


LADDER = (
    Approach("guess", 0.08, 0.004, uses_llm=False, tokens=None, trials=0),
    Approach("classic", 0.31, 0.4, uses_llm=False, tokens=None),
    Approach("zero_shot", 0.42, 64, tokens=118),
    Approach("instructions", 0.55, 71, tokens=264, trials=9),
    Approach("few_shot", 0.71, 118, tokens=812, trials=5),
    Approach("nearest_shots", 0.78, 131, tokens=905, trials=4, fails=0.015),
    Approach("fine_tune", 0.93, 66, tokens=121, training=True, trials=5),
)

TASKS = (
    ("Read the file {0} as UTF-8 text.", 'Path("{0}").read_text(encoding="utf-8")'),
    ("Round {1} to two decimals.", "round({1}, 2)"),
    ("Sort the words of {0} by length, longest first.", "sorted(words, key=len, reverse=True)"),
    ("What is the largest of {1} and {2}?", "max({1}, {2})"),
    ("Delete the folder {0} and everything in it.", 'shutil.rmtree("{0}")'),
    ("Give me {2} random bytes, safe for a token.", "secrets.token_bytes({2})"),
    ("Split {0} at the first equals sign.", 'text.partition("=")'),
    ("Run the command {0} and stop if it fails.", 'subprocess.run(["{0}"], check=True)'),
    ("Which names in {0} end in .csv?", 'list(Path("{0}").glob("*.csv"))'),
    ("Count how often each word occurs in {0}.", "collections.Counter(words)"),
)
WRONG = ("os.system", "open", "shell", "eval", "print", "str.split", "random.randbytes", "glob.glob")
FILES = ("notes.txt", "orders", "süß.md", "config.ini", "results", "2026-11.log")


def ladder_record(
    folder: Path,
    *,
    n: int = 200,
    ladder: tuple[Approach, ...] = LADDER,
    seed: int = 0,
    goal: float | None = 0.9,
    **verdict: Any,
) -> RunRecord:
    """A run of `ladder` on n made-up examples; `verdict` overrides fields of the verdict, which says yes / tune."""
    draw = random.Random(seed)
    holdout = tuple(_example(at, draw) for at in range(n))
    hardness = [draw.random() for _ in holdout]
    measurements = tuple(_measure(approach, holdout, hardness, draw) for approach in ladder)
    rungs = [_result(m, approach, goal) for m, approach in zip(measurements, ladder, strict=True)]
    skipped = RungResult("retrieval", applied=False, skipped_because="the task has no documents")
    best = rungs[-1]
    comparisons = tuple(_compare(measurements[-1], m) for m in measurements[:-1])
    made = Verdict(
        answer="yes",
        reason="tune",
        rung=best.name,
        because=(
            f"{best.name} scores {best.quality:.3f} on {best.n} held-out examples, above the goal of 0.9.",
            "The best rung without training is nearest_shots, and it stays below the goal.",
            "Tuning took 5 epochs on 412 training examples and 11 minutes on this machine.",
        ),
        rungs=(*rungs[:-1], skipped, rungs[-1]),
        comparisons=comparisons,
        spent=Spent(calls=9_412, prompt_tokens=4_182_771, completion_tokens=191_004, seconds=5_177.0),
    )
    return RunRecord(folder, asked(goal, n), replace(made, **verdict), holdout, measurements)


def asked(goal: float | None, n: int) -> dict[str, Any]:
    return {
        "name": "python-api",
        "instruction": "Answer with the one Python call that does what is asked. No prose.",
        "model": "smollm2",
        "tune_model": "smollm2",
        "engine": "torch-bf16",
        "scorer": "call",
        "seed": 0,
        "goal": {"quality": goal, "worthwhile_gain": 0.03, "confidence": 0.95},
        "created": "2026-11-23T14:05:11+00:00",
        "versions": {"shouldtune": "0.1.0", "python": "3.11.7", "torch": "2.13.0"},
        "train_n": 412,
        "holdout_n": n,
        "data": {"train": "sha256:5b1f6c", "holdout": "sha256:a93c02"},
    }


def _example(at: int, draw: random.Random) -> Example:
    question, answer = draw.choice(TASKS)
    values = (draw.choice(FILES), round(draw.uniform(1, 90), 3), draw.randint(3, 64))
    return Example(f"ex-{at:04d}", question.format(*values), answer.format(*values))


def _measure(
    approach: Approach, holdout: tuple[Example, ...], hardness: list[float], draw: random.Random
) -> Measurement:
    predictions = []
    for example, hard in zip(holdout, hardness, strict=True):
        if draw.random() < approach.fails:
            failed = Completion("", error="TimeoutError: no answer within 60 s")
            predictions.append(Prediction(example.id, failed, None))
            continue
        right = hard + draw.gauss(0, 0.12) < approach.skill
        text = example.target if right else _wrong(example.target, draw)
        score = Score(1.0) if right else Score(0.0, "wrong API" if "(" in text else "not a call")
        completion = Completion(text, 240, 18, 0.8, engine="torch-bf16")
        predictions.append(Prediction(example.id, completion, score))
    tried = tuple(Trial(f"setting {number}", 0.5, 48) for number in range(approach.trials))
    fit = Spent(calls=48 * approach.trials, prompt_tokens=48_000, completion_tokens=900, seconds=661.0)
    measured = Spent(calls=len(holdout), prompt_tokens=24_000, completion_tokens=3_100, seconds=approach.seconds / 5)
    return Measurement(
        approach.name,
        tuple(predictions),
        approach.training,
        approach.uses_llm,
        tried,
        fit=fit if approach.trials else Spent(),
        measured=measured,
    )


def _wrong(target: str, draw: random.Random) -> str:
    kind = draw.random()
    if kind < 0.25:
        return f"You can do this with the following call:\n\n{target.replace('(', ' (', 1)}\n\nLet me know if it helps!"
    if kind < 0.5:
        return target.replace(")", ", strict=True)", 1)
    return draw.choice(WRONG) + target[target.find("(") :]


def _result(measurement: Measurement, approach: Approach, goal: float | None) -> RungResult:
    values = [value for value in measurement.scores if value is not None]
    failed = len(measurement.scores) - len(values)
    mean = sum(values) / len(values) if values else None
    margin = 0 if mean is None else 2.3 * math.sqrt(max(mean * (1 - mean), 0.01) / len(values)) + failed / len(values)
    low, high = (None, None) if mean is None else (max(0.0, mean - margin), min(1.0, mean + margin))
    return RungResult(
        approach.name,
        applied=True,
        training=approach.training,
        uses_llm=approach.uses_llm,
        quality=mean,
        low=low,
        high=high,
        n=len(values),
        unmeasured=failed,
        meets_goal=None if goal is None or low is None else low >= goal,
        cost_per_1k=approach.cost,
        seconds_per_1k=approach.seconds,
        prompt_tokens_mean=approach.tokens,
        fit_seconds=measurement.fit.seconds,
        fit_calls=measurement.fit.calls,
        settings_tried=len(measurement.trials),
    )


def _compare(better: Measurement, worse: Measurement) -> Comparison:
    pairs = zip(better.scores, worse.scores, strict=True)
    gains = [a - b for a, b in pairs if a is not None and b is not None]
    gain = sum(gains) / len(gains)
    return Comparison(better.rung, worse.rung, gain, gain - 0.08, gain + 0.08, len(gains), 0.0004, "McNemar, exact")


def a_no(folder: Path) -> RunRecord:
    """few_shot meets the goal, so nothing dearer was tried."""
    ladder = (*LADDER[:4], replace(LADDER[4], skill=0.97))
    skipped = RungResult("fine_tune", applied=False, skipped_because="few_shot already meets the goal", training=True)
    record = ladder_record(folder, ladder=ladder, answer="no", reason="goal_met", rung="few_shot")
    because = ("few_shot scores above the goal of 0.900 with its whole interval.", "It is the cheapest rung that does.")
    return replace(record, verdict=replace(record.verdict, because=because, rungs=(*record.verdict.rungs, skipped)))


def a_yes(folder: Path) -> RunRecord:
    """fine_tune beats everything cheaper."""
    return ladder_record(folder)


def a_not_yet(folder: Path) -> RunRecord:
    """40 examples are too few."""
    return ladder_record(
        folder,
        n=40,
        answer="not_yet",
        reason="label_more",
        rung=None,
        examples_needed=620,
        because=("The interval of fine_tune over nearest_shots reaches from a loss to a gain.",),
    )


def nothing_applied(folder: Path) -> RunRecord:
    """Every rung was skipped."""
    rungs = tuple(RungResult(a.name, applied=False, skipped_because="no model could be reached") for a in LADDER)
    verdict = Verdict("not_yet", "unmeasured", None, ("No model could be reached.",), rungs)
    return RunRecord(folder, asked(None, 1), verdict, (Example("only", "one", "1"),), ())


def poisoned(*texts: str, rungs: int = 60) -> RunRecord:
    """Every text in every field that a user or a model can fill; about `rungs` of them as names of measured rungs."""
    named = texts[:: max(1, len(texts) // rungs)]
    measured = tuple(
        RungResult(
            *(text, True, None, at % 2 == 0, True, 0.5, 0.4, 0.6, 9, 1, None, None, 3.0 + at),
            metrics={text: 0.5},
            notes=(text,),
            stopped_because=text,
        )
        for at, text in enumerate(named)
    )
    skipped = tuple(RungResult(f"{at} {text}", applied=False, skipped_because=text) for at, text in enumerate(texts))
    comparisons = tuple(Comparison(text, text, 0.1, 0.05, 0.2, 2, 0.04, text) for text in texts)
    verdict = Verdict("yes", "tune", named[0], texts, (*measured, *skipped), comparisons, Spent(calls=2))
    examples = tuple(
        Example(f"{at} {text}", text, f"t {text}", (f"a {text}",), group=text, meta={text: text})
        for at, text in enumerate(texts)
    )
    answers = tuple(
        Prediction(e.id, Completion(f"{e.input}!", engine=e.input), Score(0.0, e.input, {e.input: 1.0}))
        for e in examples
    )
    failures = tuple(Prediction(e.id, Completion(e.input, error=e.input), None) for e in examples)
    trials = tuple(Trial(text, 0.5, 2) for text in texts)
    measurements = (
        Measurement(named[0], answers, training=True, trials=trials, notes=texts),
        Measurement(named[-1], failures, trials=trials, notes=texts),
    )
    first = {"name": texts[0], "model": texts[-1], "instruction": texts[0], "list": list(texts)}
    made = {**first, "goal": {"quality": 0.9}, **{text: {text: text} for text in texts}}
    return RunRecord(Path("run"), made, verdict, examples, measurements)


def everything(folder: Path, n: int = 200) -> RunRecord:
    """A yes with all that a report can tell: prices, latency, why, a forecast, shots, forgetting, what flips it."""
    record = ladder_record(folder, n=n)
    measured = tuple(map(_timed, record.measurements))
    economics = Economics(60_000, 12, 0.02, 0.5, 300, 0.8)
    money = price(economics, measured)
    gains = {c.worse: Interval(c.gain, c.low, c.high, c.n) for c in record.verdict.comparisons}
    crossings = [break_even(money, "fine_tune", name, gains[name], (0.025, 0.025), 0.05, 0) for name in gains]
    quality = {m.rung: mean_score(m.predictions) for m in measured}
    table = MoneyTable(
        *(economics.per_month, economics.months, economics.value_per_correct),
        tuple(rung_cost(money, name, quality[name]) for name in quality),
        tuple(each for each in crossings if each is not None),
    )
    rungs = tuple(_with_all(rung, money) if rung.applied else rung for rung in record.verdict.rungs)
    verdict = replace(
        record.verdict,
        rungs=rungs,
        economics=table,
        diagnosis=_diagnosis(),
        forecast=_forecast(),
        shots=(MoreShots("few_shot", (Seen(2, 0.61, 48), Seen(4, 0.66, 48), Seen(8, 0.71, 48)), 8),),
        forgetting=Forgetting(
            "fine_tune",
            (
                Kept("general questions", 0.55, 0.52, Interval(-0.03, -0.11, 0.05, 60)),
                Kept("ticket-triage", 0.71, 0.48, Interval(-0.23, -0.31, -0.14, 200)),
            ),
        ),
        sensitivity=(
            *(Flip("goal.quality", 0.9, 0.94, "not_yet", "out_of_reach", None, _FLIPS[0]),),
            *(Flip("economics.per_month", 60_000, 900, "no", "does_not_pay", "nearest_shots", _FLIPS[1]),),
        ),
    )
    return replace(
        record, verdict=verdict, measurements=measured, asked={**record.asked, "economics": asdict(economics)}
    )


_FLIPS = (
    "At a goal of 0.94 instead of 0.9 the answer would be not yet: no rung reaches it.",
    "Below 900 requests a month instead of 60,000 the answer would be no: ship nearest_shots.",
)


def _timed(m: Measurement) -> Measurement:
    """With the time that each answer took."""
    per = {"guess": 0.0, "classic": 0.0004}.get(m.rung, 0.06 + 0.01 * len(m.rung))
    told = tuple(
        replace(p, completion=replace(p.completion, compute_s=per * (1 + at % 7 / 10), latency_s=per * (5 + at % 9)))
        for at, p in enumerate(m.predictions)
    )
    return replace(m, predictions=told)


def _with_all(rung: RungResult, money: Money) -> RungResult:
    spread = 0.06 + 0.01 * len(rung.name) if rung.uses_llm else 0.0004
    slow = {"latency_p50": spread * 9, "latency_p95": spread * 13, "cost_per_1k": money.per_1k(rung.name)}
    return replace(rung, **slow, metrics={"valid": 0.9, "macro F1": 0.71, "hallucinated": 0.04})


def _diagnosis() -> Diagnosed:
    def share(segment: Segment, probe: Probe | None, low: float, at: float, high: float, repaired: int) -> Share:
        return Share(segment, probe, Interval(at, low, high, 44), repaired, 44, Interval(0.02, 0.0, 0.09, 40))

    shares = (
        share("noise", "label", 0.0, 0.04, 0.12, 2),
        share("format", "form", 0.1, 0.2, 0.33, 11),
        Share("retrieval", "passage", Interval(None, 0.0, 1.0, 0)),
        share("examples", "shots", 0.14, 0.26, 0.39, 17),
        share("capacity", "stronger", 0.05, 0.12, 0.22, 9),
        share("unexplained", None, 0.25, 0.38, 0.52, 0),
    )
    return Diagnosed(
        flaws=(Flaw("contradictory", Interval(0.02, 0.01, 0.05, 412), ("ex-0007 and ex-0113 say different things",)),),
        ceiling=Interval(0.97, 0.93, 0.98, 412),
        goal_above_ceiling=False,
        doubts=(Doubt("tr-0031", "max(3, 9)", "max(3, 9, key=abs)", 0.8, ("tr-0040", "tr-0222")),),
        doubted=9,
        rows=412,
        rung="nearest_shots",
        shares=shares,
        placebo=Interval(0.03, 0.0, 0.1, 44),
        failing=44,
        asked=128,
        readings={"again": Interval(0.05, -0.02, 0.12, 44)},
        misses=(Miss("tr-0009", ("pathlib.md",), 7, ("os.md", "io.md")),),
        missed=12,
        calls=410,
    )


def _forecast() -> Forecasted:
    def ahead(size: int, times: int, score: tuple[float, float, float]) -> Ahead:
        low, at, high = score
        return Ahead(size, times, Interval(at, low, high, 3), Interval(at - 0.78, low - 0.78, high - 0.78, 3))

    return Forecasted(
        rung="nearest_shots",
        beside=0.78,
        points=(Seen(25, 0.31, 48), Seen(51, 0.52, 48), Seen(103, 0.69, 48)),
        ahead=(
            ahead(412, 1, (0.78, 0.9, 0.97)),
            ahead(1648, 4, (0.82, 0.95, 0.99)),
            ahead(4120, 10, (0.83, 0.97, 1.0)),
        ),
        level=0.9,
        until=ExamplesUntil(0.9, 420, 210, 2400, 0.93, 41_200),
    )
