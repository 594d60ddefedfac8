"""The report of a run: the same facts in every form, and no text that a terminal or a page would obey."""

from __future__ import annotations

import io
import json
import re
import sys
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from shouldtune.causes import Diagnosed
from shouldtune.judgement import Comparison, Interval, RungResult, Verdict
from shouldtune.report import charts, examples, layout, svg, words
from shouldtune.report.markup import element
from shouldtune.report.page import to_html
from shouldtune.report.sections import _cost
from shouldtune.report.terminal import plain_lines, show
from shouldtune.run import RunRecord
from shouldtune.types import Measurement, Spent
from shouldtune.verdict.plain import verdict_from_json, verdict_to_json
from tests.report_worlds import (
    LADDER,
    a_no,
    a_not_yet,
    a_yes,
    ladder_record,
    nothing_applied,
    poisoned,
)

World = Callable[[Path], RunRecord]

HERE = Path("run")
WORLDS: dict[str, World] = {"no": a_no, "yes": a_yes, "not yet": a_not_yet, "nothing": nothing_applied}
HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "<!--<script>",
    "]]><svg onload=alert(1)>",
    "</style><style>*{background:url(//evil.example)}",
    "javascript:alert(1)",
    "{{7*7}} ${7*7} [[x]]",
    "a\u2028b\u2029c",
)
CONTROLS = (
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07x",
    "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x9b31mred",
    "\x9d0;title\x9cx",
    "\x1bPq\x1b\\x",
    "a\x08b\x00c\x7fd\x85e",
    "back\rover",
    "\u202edetrevni\u202c",
    "\x1b[",
    "\x1b",
)


class Outline(HTMLParser):
    """What a browser would see: tags with attributes, and the texts of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.text: list[str] = []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        self.raw[self._inside].append(data) if self._inside in self.raw else self.text.append(data)

    def count(self, tag: str) -> int:
        return sum(found == tag for found, _ in self.tags)


@cache
def page_of(world: World) -> str:
    return to_html(world(HERE))


def printed(record: RunRecord, *, terminal: bool, width: int = 120) -> str:
    out = io.StringIO()
    show(
        record, Console(file=out, force_terminal=terminal, width=width, color_system="truecolor" if terminal else None)
    )
    return out.getvalue()


def text_of(page: str) -> str:
    return " ".join(" ".join(Outline(page).text).split())


# ---------------------------------------------------------------- the answer


def test_why_a_rung_stopped_early_is_said_on_one_line_in_every_form() -> None:
    record = a_yes(HERE)
    rungs = record.verdict.rungs
    cut = replace(rungs[0], n=60, unmeasured=4, stopped_because="it stays below the goal")
    record = replace(record, verdict=replace(record.verdict, rungs=(cut, *rungs[1:])))
    said = f"{cut.name} stopped after 64 of 200: it stays below the goal"
    assert said in plain_lines(record)
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    show(record, console)
    assert isinstance(console.file, io.StringIO)
    assert said in console.file.getvalue()
    assert "stopped early: it stays below the goal" in to_html(record)
    assert verdict_from_json(verdict_to_json(record.verdict)) == record.verdict
    assert not [line for line in plain_lines(a_yes(HERE)) if "stopped after" in line]


def test_the_first_line_is_the_answer() -> None:
    said = {name: printed(world(HERE), terminal=False).split("\n")[0] for name, world in WORLDS.items()}
    assert said["no"] == "Should you fine-tune? No: few_shot already meets the goal."
    assert said["yes"] == "Should you fine-tune? Yes: no cheaper rung does as well as fine_tune."
    assert said["nothing"] == "Should you fine-tune? Not yet: too much went unmeasured to tell."
    assert said["not yet"].startswith("Should you fine-tune? Not yet: there are too few held-out examples to tell;")


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_the_page_and_the_terminal_say_the_same(world: World) -> None:
    record = world(HERE)
    page, plain = text_of(page_of(world)), " ".join(" ".join(plain_lines(record)).split())
    answer, clause = words.headline(record.verdict)
    for fact in (f"{answer}: {clause}", *record.verdict.because, *map(words.compared, record.verdict.comparisons)):
        assert fact in page
        assert fact.replace(" ", "") in plain.replace(" ", "")
    for rung in record.verdict.rungs:
        if rung.quality is not None:
            assert words.interval(rung.quality, rung.low, rung.high) in page
            assert words.score(rung.quality) in plain


def test_a_simulated_run_says_so_everywhere() -> None:
    record = a_yes(HERE)
    record = replace(record, verdict=replace(record.verdict, simulated=True))
    assert "scripted model" in text_of(to_html(record))
    assert "scripted model" in printed(record, terminal=True)
    assert "scripted model" in printed(record, terminal=False)


def test_not_yet_names_what_to_ship_until_then() -> None:
    record = a_not_yet(HERE)
    record = replace(record, verdict=replace(record.verdict, rung="nearest_shots"))
    assert "Until then, ship nearest_shots." in text_of(to_html(record))


def test_every_reason_has_a_sentence() -> None:
    for reason in words.CLAUSES:
        for rung in ("few_shot", None, "{oops}"):
            assert words.headline(Verdict("no", reason, rung, (), ()))[1].endswith(".")


def test_comparisons_claim_no_more_than_their_interval() -> None:
    better = Comparison("a", "b", 0.1, 0.05, 0.15, 90, 0.0001, "McNemar")
    assert words.compared(better) == "a is better than b by 0.100 (0.050 to 0.150) on 90 examples; p < 0.001, McNemar."
    worse = replace(better, gain=-0.1, low=-0.15, high=-0.05, p_value=None)
    assert words.compared(worse) == "a is worse than b by 0.100 (0.050 to 0.150) on 90 examples."
    level = replace(better, low=-0.01, p_value=0.08, n=1)
    assert words.compared(level) == (
        "a and b cannot be told apart: +0.100 (-0.010 to +0.150) on 1 example; p = 0.080, McNemar."
    )
    assert "nothing can be said" in words.compared(replace(better, gain=None))


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (words.duration(0.0), "0 s"),
        (words.duration(0.0021), "2 ms"),
        (words.duration(0.41), "0.4 s"),
        (words.duration(59.7), "1 min"),
        (words.duration(661), "11 min 1 s"),
        (words.duration(5177), "1 h 26 min"),
        (words.duration(None), "-"),
        (words.amount(0.00004), "<0.001"),
        (words.amount(1234.4), "1,234"),
        (words.amount(99.96), "100.0"),
        (words.money(None), "-"),
        (words.money(0.0), "$0"),
        (words.money(0.42), "$0.420"),
        (words.money(1234.5), "$1,234.50"),
        (words.score(0.8996), "0.900"),
        (words.score(None), "-"),
    ],
)
def test_numbers_are_said_plainly(said: str, meant: str) -> None:
    assert said == meant


# ---------------------------------------------------------------- the terminal


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_piped_output_is_plain_and_fits_80_columns(world: World) -> None:
    out = printed(world(HERE), terminal=False)
    assert max(map(len, out.split("\n"))) <= 80
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2500-\u25ff]", out)


@pytest.mark.parametrize("width", [60, 80, 96, 115, 116, 200])
def test_a_terminal_of_any_width_shows_whole_numbers(width: int) -> None:
    out = printed(a_yes(HERE), terminal=True, width=width)
    bare = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert max(map(len, bare.split("\n"))) <= width
    assert "0.920 (0.876-0.964)" in bare


def test_long_rung_names_do_not_break_the_table() -> None:
    ladder = (replace(LADDER[0], name="a_rung_of_ones_own_with_a_very_long_name_" * 3), LADDER[1])
    lines = plain_lines(ladder_record(HERE, ladder=ladder))
    assert max(map(len, lines)) <= 80
    assert "a_rung_of_ones_own" in "".join(lines)


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("text", [*CONTROLS, *HOSTILE, "[bold red]x[/]", "[link=http://evil.example]x[/link]"])
def test_no_control_byte_of_a_model_reaches_a_terminal(text: str, terminal: bool) -> None:
    out = printed(poisoned(text), terminal=terminal, width=160)
    ours = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", ours)
    assert "\x1b]" not in out
    if "[" in text and text.isprintable():
        assert text.split(maxsplit=1)[0] in ours.replace("\n", "")


def test_an_ascii_pipe_does_not_crash_on_other_letters() -> None:
    record = poisoned("süß 😀")
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    show(record, Console(file=out, force_terminal=False))


@pytest.mark.parametrize("text", [*CONTROLS, "\ud800lone"])
def test_printable_keeps_words_and_drops_orders(text: str) -> None:
    kept = words.printable(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", kept)
    kept.encode("utf-8")
    assert words.printable("tabs\tand\nlines") == "tabs\tand\nlines"


# ---------------------------------------------------------------- JSON


@pytest.mark.parametrize("world", [*WORLDS.values(), *(lambda _, t=t: poisoned(t) for t in (*HOSTILE, *CONTROLS))])
def test_a_verdict_survives_json_exactly(world: World) -> None:
    verdict = world(HERE).verdict
    text = verdict_to_json(verdict)
    assert verdict_from_json(text) == verdict
    assert verdict_to_json(verdict_from_json(text)) == text
    assert text.isascii()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f]", text)


def test_json_keeps_null_and_refuses_nan() -> None:
    document = json.loads(verdict_to_json(a_no(HERE).verdict))
    assert document["spent"]["usd"] is None
    assert document["rungs"][0]["cost_per_1k"] is None
    assert list(document) == sorted(document)
    with pytest.raises(ValueError, match="not JSON compliant"):
        verdict_to_json(replace(a_no(HERE).verdict, spent=Spent(usd=float("nan"))))


# ---------------------------------------------------------------- the page


def test_no_text_becomes_markup() -> None:
    """The hostile page has the same tags and attributes as a harmless one, and its data holds no `<`."""
    harmless = Outline(to_html(poisoned(*(f"plain {at}" for at in range(len(HOSTILE))))))
    found = Outline(to_html(poisoned(*HOSTILE)))
    shape = [(tag, sorted(attributes)) for tag, attributes in found.tags]
    assert shape == [(tag, sorted(attributes)) for tag, attributes in harmless.tags]
    data, _ = found.raw["script"]
    assert not re.search("[<>&\u2028\u2029]", data)
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)


def test_the_page_holds_no_control_character() -> None:
    page = to_html(poisoned(*CONTROLS))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", page)
    assert not re.search(r"\\u(00[01]|007f|008|009|202[89a-e])", page.replace(r"\\u003", ""))


def test_a_lone_surrogate_can_be_written() -> None:
    to_html(poisoned("\ud800")).encode("utf-8")


def test_the_policy_names_the_script_and_the_style_and_nothing_else() -> None:
    found = Outline(page_of(a_yes))
    policy = next(a["content"] for tag, a in found.tags if tag == "meta" and a.get("http-equiv"))
    assert policy is not None
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none';")
    for text in (found.raw["script"][1], found.raw["style"][0]):
        assert f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" in policy
    assert not any("style" in attributes for _, attributes in found.tags)


def test_the_page_fetches_nothing() -> None:
    page = page_of(a_yes).replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?://|url\(|@import|\bsrc=", page)
    found = Outline(page)
    assert not {"link", "img", "iframe", "object", "embed", "base", "image", "use"} & {tag for tag, _ in found.tags}
    assert all(a["href"].startswith("#") for tag, a in found.tags if tag == "a" and a["href"])


def test_the_script_never_makes_markup_from_text() -> None:
    script = Outline(page_of(nothing_applied)).raw["script"][1]
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|setAttribute\(.on", script
    )


def test_headings_and_tables_are_in_order() -> None:
    found = Outline(page_of(a_yes))
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(a.get("scope") in {"col", "row", "colgroup"} for tag, a in found.tags if tag == "th")
    assert found.count("caption") == found.count("table") - 1  # the script's own table is described by its heading


def test_without_script_the_first_fifty_examples_are_there() -> None:
    record, page = a_yes(HERE), text_of(page_of(a_yes))
    assert "The first 50 of 200." in page
    assert record.holdout[49].target in page
    assert "TimeoutError" in page


def test_every_example_is_in_the_data() -> None:
    record = a_yes(HERE)
    data = json.loads(Outline(page_of(a_yes)).raw["script"][0])
    assert [row[0] for row in data["examples"]] == [example.id for example in record.holdout]
    assert data["rungs"][data["tuned"]]["name"] == "fine_tune"
    assert data["rungs"][data["untuned"]]["name"] == "nearest_shots"
    failed = [row for row in data["examples"] if row[4][5][1] is None]
    assert len(failed) == 4
    assert all(data["said"][row[4][5][2]].startswith("TimeoutError") for row in failed)
    for place, measurement in enumerate(record.measurements):
        said = [row[2][row[4][place][0]] for row in data["examples"]]
        assert said == [prediction.completion.text for prediction in measurement.predictions]


def test_of_very_many_examples_the_page_holds_the_first_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    record = a_yes(HERE)
    monkeypatch.setattr(examples, "MOST", 7)
    page = to_html(record)
    data = json.loads(Outline(page).raw["script"][0])
    assert [row[0] for row in data["examples"]] == [example.id for example in record.holdout[:7]]
    assert f"The first 7 of {len(record.holdout):,}" in page
    assert "<h2>Every example" not in page


def test_no_text_of_an_example_stands_twice_in_the_data() -> None:
    """Most answers are the target, or what another rung said too."""
    data = json.loads(Outline(page_of(a_yes)).raw["script"][0])
    assert all(len(set(texts)) == len(texts) for _, _, texts, _, _ in data["examples"])
    assert len(set(data["said"])) == len(data["said"])


def test_unknown_prices_are_left_out_and_known_ones_shown() -> None:
    assert "cost is left out" in text_of(page_of(a_yes))
    priced = tuple(replace(approach, cost=0.4) for approach in LADDER)
    page = text_of(to_html(ladder_record(HERE, ladder=priced)))
    assert "Cost per 1,000" in page
    assert "$0.400" in page


def test_without_a_goal_nothing_speaks_of_one() -> None:
    record = ladder_record(HERE, goal=None)
    assert "no goal was set" in " ".join(plain_lines(record))
    assert "The dashed line is the goal" not in to_html(record)


@pytest.mark.parametrize("n", [0, 1])
def test_a_run_of_almost_nothing_is_told(n: int) -> None:
    verdict = Verdict("not_yet", "label_more", None, ("There are 3 examples.",), (), examples_needed=40)
    record = RunRecord(HERE, {}, verdict, a_no(HERE).holdout[:n], ())
    assert "No rung was tried." in text_of(to_html(record))
    assert plain_lines(record)[0].startswith("Should you fine-tune? Not yet:")


def test_where_nothing_speaks_against_the_data_that_is_said() -> None:
    record = a_yes(HERE)
    sound = Diagnosed((), Interval(None, 0.0, 1.0, 0), False, (), 0, 412)
    page = text_of(to_html(replace(record, verdict=replace(record.verdict, diagnosis=sound))))
    assert "The data Nothing was found that speaks against the 412 training rows." in page


def test_metrics_notes_and_trials_are_shown() -> None:
    record = a_yes(HERE)
    rungs = tuple(replace(rung, metrics={"valid": 0.5}) if rung.applied else rung for rung in record.verdict.rungs)
    measured = tuple(replace(m, notes=("kept 4 shots",)) for m in record.measurements)
    page = text_of(to_html(replace(record, verdict=replace(record.verdict, rungs=rungs), measurements=measured)))
    assert "What the scorer reported beside the score" in page
    assert "kept 4 shots" in page
    assert "setting 1: 0.500 on 48 examples" in page


def test_a_thousand_examples_on_eight_rungs_make_a_small_page() -> None:
    ladder = (*LADDER, replace(LADDER[-1], name="fine_tune_retrieval", skill=0.9))
    assert len(to_html(ladder_record(HERE, n=1000, ladder=ladder))) < 2_000_000


def test_one_endless_answer_is_clipped_and_says_so() -> None:
    record = nothing_applied(HERE)
    endless = replace(record, holdout=(replace(record.holdout[0], input="x" * 50_000),))
    assert "30,000 more characters are in predictions.jsonl" in to_html(endless)


# ---------------------------------------------------------------- charts


def test_charts_are_drawn_in_two_widths_with_words_beside_them() -> None:
    page = page_of(a_yes)
    found = Outline(page)
    assert [a["class"] for tag, a in found.tags if tag == "svg"] == ["wide", "narrow"] * 2
    described = [a["aria-label"] for tag, a in found.tags if a.get("role") == "img"]
    assert len(described) == 2
    assert "fine_tune (weights tuned): 0.920 (0.876 to 0.964)" in (described[0] or "")
    assert "few_shot: 0.745 at 118 s" in (described[1] or "")


def test_every_colour_of_a_chart_is_mapped_by_the_style_sheet() -> None:
    page = page_of(a_yes)
    style = Outline(page).raw["style"][0]
    for paint, colour in set(re.findall(r'(fill|stroke)="(#[0-9a-f]+)"', "".join(re.findall("<svg.*?</svg>", page)))):
        assert f'[{paint}="{colour}"]' in style


def test_dollars_are_drawn_only_when_every_price_is_known() -> None:
    priced = tuple(replace(approach, cost=0.4) for approach in LADDER)
    dollars = charts.cost_chart(ladder_record(HERE, ladder=priced))
    seconds = charts.cost_chart(ladder_record(HERE, ladder=(*priced[:-1], LADDER[-1])))
    assert dollars is not None
    assert "dollars for 1,000" in dollars.description
    assert seconds is not None
    assert "seconds for 1,000" in seconds.description


@pytest.mark.parametrize("quality", [0.0, 1.0, 0.5])
@pytest.mark.parametrize("seconds", [0.0, 3.0])
def test_charts_of_extreme_worlds_can_be_drawn(quality: float, seconds: float) -> None:
    rung = RungResult("a", True, quality=quality, low=quality, high=quality, n=9, seconds_per_1k=seconds)
    rungs = (rung, replace(rung, name="b", seconds_per_1k=seconds * 1000), replace(rung, name="c", low=None, high=None))
    record = replace(a_no(HERE), verdict=Verdict("no", "no_gain", "a", (), rungs))
    assert to_html(record).count("<svg") == 4


def test_without_the_drawing_packages_the_page_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    page = to_html(a_yes(HERE))
    assert "<svg" not in page
    assert 'pip install "shouldtune[report]"' in text_of(page)
    assert "0.920 (0.876 to 0.964)" in page


def test_a_chart_keeps_nothing_that_could_act() -> None:
    drawn = (
        f'<svg xmlns="{svg.SPACE}" onload="alert(1)"><style>*{{}}</style><script>1</script>'
        '<a href="javascript:1"><path d="M0,0h1" fill="#111" style="x"/></a><path d="M0,0h1" fill="#1b1f24"/></svg>'
    )
    kept = svg.rebuilt(drawn, "wide")
    assert not re.search("onload|script|style|href|<a", kept)
    assert kept.count("<path") == 1


@pytest.mark.parametrize("values", [[0.004, 0.4, 64, 131], [0.02, 800, 3000, 0], [5], [0, 0], [1e-6, 2e-6]])
def test_an_axis_puts_values_in_order_between_zero_and_one(values: list[float]) -> None:
    place, ticks = layout.axis(values, values, most=6)
    places = [place(value) for value in sorted(values)]
    assert places == sorted(places)
    assert all(0 <= at <= 1 for at in (*places, *map(place, ticks)))
    assert 2 <= len(ticks) <= 8
    assert ticks[0] == 0
    assert ticks == sorted(set(ticks))


def test_names_in_a_crowd_do_not_cover_each_other() -> None:
    points = [(100.0, 100.0), (112.0, 104.0), (118.0, 96.0), (300.0, 200.0)]
    names = ["few_shot", "nearest_shots", "instructions", "alone"]
    places = layout.label_places(points, names, 600)
    boxes = [layout._box(place, layout.LETTER * len(name)) for place, name in zip(places, names, strict=True)]
    assert all(layout._covered(a, b) == 0 for a in boxes for b in boxes if a is not b)


def test_text_is_escaped_unless_it_was_made_here() -> None:
    assert element("p", "<b>", element("b", "&"), title='"') == '<p title="&quot;">&lt;b&gt;<b>&amp;</b></p>'


def test_a_model_that_runs_here_sends_no_bill_and_an_unknown_price_is_said() -> None:
    def said(**models: str) -> str:
        record = a_no(HERE)
        verdict = replace(record.verdict, spent=Spent(calls=3), provenance=models)
        return words.spent(replace(record, verdict=verdict))

    assert "nothing to pay" in said(model="smollm2", tune="smollm2")
    assert "cost unknown" in said(model="smollm2", strong="openai:gpt-4o")
    assert "cost unknown" in said()


def test_a_rung_with_nothing_to_fit_costs_what_measuring_it_cost() -> None:
    paid = Measurement("zero_shot", (), fit=Spent(), measured=Spent(calls=100, usd=1.0))
    assert _cost(paid) == 1.0
    assert _cost(replace(paid, measured=Spent(calls=100))) is None
    assert _cost(replace(paid, fit=Spent(calls=3))) is None
