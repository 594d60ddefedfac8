"""The page's sections that need no script: the answer, the ladder, what beat what, the effort, and what was asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shouldtune.judgement import RungResult
from shouldtune.report import charts, costs, prompts, words
from shouldtune.report.charts import Drawing
from shouldtune.report.markup import Html, element, together
from shouldtune.report.under_way import UNKNOWN, UnderWay
from shouldtune.report.words import one_line
from shouldtune.types import Measurement, Spent, Trial

if TYPE_CHECKING:
    from shouldtune.run import RunRecord

KEY = {"no language model": "□", "prompting": "○", "weights tuned": "◇"}
TRADE = "Up is better, left takes less. Marks as above."
INSTALL = 'pip install "shouldtune[report]"'


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


# ---------------------------------------------------------------- the ladder


def ladder(record: RunRecord) -> Html:
    """Two charts, the same as a table, and how to read them."""
    measured = any(rung.quality is not None for rung in record.verdict.rungs)
    drawn: list[Html] = []
    if measured and charts.can_draw():
        first = charts.ladder_chart(record)
        drawn += [figure(first, "Quality of each rung.", _key(first, record))] if first else []
        against = (charts.cost_chart(record), charts.latency_chart(record))
        drawn += [figure(each, each.title, TRADE) for each in against if each is not None]
    elif measured:
        drawn = [element("p", "To see charts here, ", element("code", INSTALL), " and write the report again.")]
    return element(
        "section",
        element("h2", "The ladder"),
        element(
            "p",
            "From the cheapest approach to the dearest, on the same held-out examples, as many as the answer needed.",
        ),
        *drawn,
        _ladder_table(record) if record.verdict.rungs else element("p", "No rung was tried."),
        element("p", words.how_to_read(record), class_="aside") if measured else None,
        _metrics_table(record.verdict.rungs),
        id="ladder",
    )


def figure(drawing: Drawing, title: str, said: str) -> Html:
    """A chart with its caption; a screen reader hears the description instead."""
    caption = element("figcaption", element("b", title), f" {said}")
    return element("figure", element("div", drawing.svg, role="img", aria_label=drawing.description), caption)


def _key(drawing: Drawing, record: RunRecord) -> str:
    kinds = ", ".join(f"{KEY[kind]}\u00a0{kind}" for kind in drawing.kinds)
    shipped = " The filled mark is the one to ship." if record.verdict.rung else ""
    goal = " The dashed line is the goal." if words.goal_quality(record) is not None else ""
    goal += " Beyond the line of dots no score is within reach: some targets are wrong." if words.reach(record) else ""
    return f"{kinds}.{shipped}{goal} The line through a mark is its interval."


def _ladder_table(record: RunRecord) -> Html:
    goal = words.goal_quality(record)
    priced = any(rung.cost_per_1k is not None for rung in record.verdict.rungs)
    timed = any(rung.latency_p50 is not None for rung in record.verdict.rungs)
    headings = ["Quality (interval)", *(["Goal"] if goal is not None else []), "Answers", "Seconds per 1,000"]
    headings += [*(["Cost per 1,000"] if priced else []), *(["Latency"] if timed else [])]
    headings += ["Prompt tokens"]
    rows = []
    for rung in record.verdict.rungs:
        cells = _ladder_cells(rung, goal, priced, timed)
        if not rung.applied:
            why = f"Skipped: {one_line(rung.skipped_because or 'no reason was given')}"
            cells = [element("td", why, colspan=len(headings), class_="words")]
        shipped, kind = rung.name == record.verdict.rung, words.kind(rung)
        stopped = (f"stopped early: {one_line(rung.stopped_because)}",) if rung.stopped_because else ()
        note = " · ".join((("ship this",) if shipped else ()) + (() if kind == "prompting" else (kind,)) + stopped)
        name = element("th", one_line(rung.name), _small(note), scope="row")
        rows.append(element("tr", name, *cells, class_="shipped" if shipped else None if rung.applied else "skipped"))
    unpriced = (
        None
        if priced or record.verdict.economics
        else element("p", "No price is known for any rung, so cost is left out.", class_="aside")
    )
    return together(data_table("Every rung in numbers", ["Rung", *headings], rows), unpriced)


def _ladder_cells(rung: RungResult, goal: float | None, priced: bool, timed: bool) -> list[Html]:
    slow = f"95%: {words.duration(rung.latency_p95)}" if rung.latency_p95 is not None else ""
    failed = f"{rung.unmeasured:,} failed" if rung.unmeasured else ""
    tokens = "-" if rung.prompt_tokens_mean is None else f"{rung.prompt_tokens_mean:,.0f}"
    cells: list[tuple[str, str]] = [(words.interval(rung.quality, rung.low, rung.high), "")]
    cells += [(_against(rung, goal), "")] if goal is not None else []
    cells += [(f"{rung.n:,}", failed), (words.amount(rung.seconds_per_1k), "")]
    cells += [(words.money(rung.cost_per_1k), "")] if priced else []
    cells += [(words.duration(rung.latency_p50), slow)] if timed else []
    cells += [(tokens, "")]
    return [element("td", text, _small(below)) for text, below in cells]


def _against(rung: RungResult, goal: float) -> str:
    """Where the whole interval stands."""
    if rung.meets_goal:
        return "met"
    return "-" if rung.high is None else "below" if rung.high < goal else "not proven"


def _small(text: str) -> Html | None:
    return element("small", text) if text else None


def _metrics_table(rungs: Sequence[RungResult]) -> Html | None:
    """A rung a row and a metric a column; the other way round where there are more metrics than rungs."""
    applied = [rung for rung in rungs if rung.applied]
    names = sorted({name for rung in applied for name in rung.metrics})
    if not names:
        return None
    cells = {(r.name, n): words.score(r.metrics.get(n)) for r in applied for n in names}
    lines, columns, corner = [r.name for r in applied], names, "Rung"
    if len(names) > len(applied):
        lines, columns, corner = names, lines, "Metric"
        cells = {(name, rung): value for (rung, name), value in cells.items()}
    rows = [
        element("tr", element("th", one_line(line), scope="row"), *cells_of(*(cells[line, each] for each in columns)))
        for line in lines
    ]
    return data_table("What the scorer reported beside the score", [corner, *map(one_line, columns)], rows)


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
    table = _scrolling("Effort", _caption("What was spent on each rung"), element("thead", top, below), rows)
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
    return f"{spent.calls:,}", f"{tokens:,}", words.amount(spent.seconds)


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
    table = element("table", _caption("As recorded in the run's folder"), element("tbody", *rows), class_="asked")
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


# ---------------------------------------------------------------- tables


def data_table(caption: str, headings: Iterable[str], rows: Sequence[Html]) -> Html:
    """A table that scrolls sideways where it must."""
    head = element("thead", element("tr", *(element("th", heading, scope="col") for heading in headings)))
    return _scrolling(caption, _caption(caption), head, rows)


def _scrolling(label: str, caption: Html, head: Html, rows: Sequence[Html]) -> Html:
    """A table in a box that scrolls sideways on a narrow page, and that the keyboard can reach to do so."""
    table = element("table", caption, head, element("tbody", together(*rows)))
    return element("div", table, class_="scroll", role="region", tabindex=0, aria_label=label)


def _caption(text: str) -> Html:
    return element("caption", text)


def cells_of(*texts: str) -> list[Html]:
    return [element("td", text) for text in texts]
