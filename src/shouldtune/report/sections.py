"""The page's first sections and its last: the answer, what beat what, the effort, and what was asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shouldtune.report import costs, prompts, words
from shouldtune.report.markup import Html, element, together
from shouldtune.report.tables import cells_of, scrolling
from shouldtune.report.under_way import UNKNOWN, UnderWay
from shouldtune.report.words import one_line
from shouldtune.types import Measurement, Spent, Trial

if TYPE_CHECKING:
    from shouldtune.run import RunRecord


def answer(record: RunRecord, now: UnderWay | None = None) -> Html:
    """The question, the answer, the money and the reasons: what most readers came for."""
    verdict = record.verdict
    known = now is None or now.state == "ended"
    said, clause = words.headline(verdict) if now is None or known else (UNKNOWN, now.clause)
    where = [one_line(record.asked.get("name") or "a task"), words.counted(len(record.holdout), "held-out example")]
    if record.asked.get("model"):
        where.append(one_line(record.asked["model"]))
    heading = element(
        "h1",
        element("span", "Should you fine-tune?", class_="question"),
        " ",
        element("span", element("strong", f"{said}:"), f" {clause}", class_="said"),
    )
    meanwhile = known and verdict.answer == "not_yet" and verdict.rung is not None
    return element(
        "header",
        element("p", " · ".join(where), class_="where"),
        heading,
        _doing(now) if now is not None else None,
        element("p", words.SIMULATED, class_="simulated", role="note") if verdict.simulated else None,
        element("p", again, class_="simulated", role="note") if (again := words.judged_again(verdict)) else None,
        element("p", costs.sentence(record), class_="money") if known else None,
        element("ul", *(element("li", one_line(line)) for line in verdict.because), class_="because"),
        element("p", f"Until then, ship {one_line(verdict.rung)}.", class_="meanwhile") if meanwhile else None,
        id="answer",
    )


def _doing(now: UnderWay) -> Html:
    """What the run does now, kept up to date by the script; and what it found so far."""
    lines = element("ul", *(element("li", line) for line in now.lines))
    found = element("details", element("summary", f"Found so far ({len(now.lines)})"), lines) if now.lines else None
    doing = element("p", now.said, id="doing", aria_live="off")
    return element("div", doing, found, id="now", data_version=now.version, data_state=now.state)


def contents(record: RunRecord) -> Html:
    """Links to the sections."""
    verdict = record.verdict
    priced = [("money", "Money" if verdict.economics else "What flips it")] if costs.known(verdict) else []
    prompt = [("instruction", "Instruction")] if prompts.searched(record) else []
    why = [("why", "Why it fails" if verdict.diagnosis.rung else "Data")] if verdict.diagnosis else []
    ahead = [("ahead", "More examples")] if verdict.forecast or verdict.shots else []
    keeps = [("again", "Look again")] if verdict.shelf_life else []
    forgot = [("forgotten", "Forgotten")] if verdict.forgetting else []
    found = (("ladder", "Ladder"), ("compared", "Compared"), *prompt, *why, *ahead, *forgot, *priced)
    parts = (*found, *keeps, ("effort", "Effort"), ("examples", "Examples"), ("asked", "Asked"))
    links = [element("li", element("a", name, href=f"#{part}")) for part, name in parts]
    return element("nav", element("ul", *links), aria_label="Sections", id="contents")


# ---------------------------------------------------------------- what beat what, and what it took


def compared(record: RunRecord) -> Html:
    """Each comparison in words that claim no more than its interval."""
    lines = [element("li", words.compared(each)) for each in record.verdict.comparisons]
    both = element(
        "p", "Mean differences where both rungs answered; their limits count a failed call as the worst case."
    )
    body = together(both, element("ul", *lines)) if lines else element("p", "No two rungs were compared.")
    return element("section", element("h2", "Compared"), body, id="compared")


def effort(record: RunRecord) -> Html:
    """What each rung was given, so that nobody compares a tuned model with a prompt that nobody tried to improve."""
    columns = ["Calls", "Tokens", "Seconds"]
    top = element(
        "tr",
        element("th", "Rung", scope="col", rowspan=2),
        element("th", "To fit", scope="colgroup", colspan=4),
        element("th", "To measure", scope="colgroup", colspan=3),
        element("th", "Cost", scope="col", rowspan=2),
    )
    below = element("tr", *(element("th", name, scope="col") for name in ("Settings", *columns, *columns)))
    rows = [
        element(
            "tr",
            element("th", one_line(each.rung), scope="row"),
            *cells_of(str(len(each.trials)), *_taken(each.fit), *_taken(each.measured), words.money(_cost(each))),
        )
        for each in record.measurements
    ]
    table = scrolling("What was spent on each rung", element("thead", top, below), rows, label="Effort")
    return element(
        "section",
        element("h2", "Equal effort"),
        element("p", f"In all: {words.spent(record)}."),
        table if rows else None,
        _tried(record.measurements),
        id="effort",
    )


def _taken(spent: Spent) -> tuple[str, str, str]:
    tokens = spent.prompt_tokens + spent.completion_tokens
    seconds = None if spent.calls and not spent.seconds else spent.seconds  # a server does not tell its own
    return f"{spent.calls:,}", f"{tokens:,}", words.amount(seconds)


def _cost(measurement: Measurement) -> float | None:
    known = [spent.usd for spent in (measurement.fit, measurement.measured) if spent.calls]
    return None if not known or None in known else sum(usd for usd in known if usd is not None)


def _outcome(trial: Trial) -> str:
    found = trial.found
    return words.score(trial.score) if found is None else f"right passage at a mean reciprocal rank of {found:.3f}"


def _tried(measurements: Sequence[Measurement]) -> Html | None:
    """Every setting and note, folded away."""
    entries: list[Html] = []
    for each in measurements:
        lines = [f"{one_line(t.setting)}: {_outcome(t)} on {words.counted(t.n, 'example')}" for t in each.trials]
        lines += [one_line(note) for note in each.notes]
        listed = element("ul", *(element("li", line) for line in lines))
        entries += [element("dt", one_line(each.rung)), element("dd", listed)] if lines else []
    return (
        element("details", element("summary", "Every setting that was tried"), element("dl", *entries))
        if entries
        else None
    )


# ---------------------------------------------------------------- what was asked


def asked(record: RunRecord) -> Html:
    """Everything that was asked, as it stands in run.json."""
    found = list(_flat({**record.verdict.provenance, **record.asked}))
    said = [(name, value) for name, value in found if value is not None]
    left_open = ", ".join(name for name, value in found if value is None)
    said += [("not set", left_open)] if left_open else []
    rows = [
        element("tr", element("th", name, scope="row"), element("td", value, class_="words")) for name, value in said
    ]
    table = element(
        "table", element("caption", "As recorded in the run's folder"), element("tbody", *rows), class_="asked"
    )
    return element("section", element("h2", "What was asked"), table, id="asked")


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str | None]]:
    """Nested values under dotted names; None for what was not set."""
    for key, value in values.items():
        name = f"{above}{one_line(key)}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif isinstance(value, list | tuple):
            yield name, ", ".join(str(item) for item in value) or "none"
        else:
            yield name, None if value is None else str(value)
