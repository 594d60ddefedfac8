"""The page in a real Chromium: it can be browsed, it stays quick, it runs nothing of a model's and fetches nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shouldtune.report.page import to_html
from shouldtune.run import RunRecord
from shouldtune.types import Completion, Example, Measurement, Prediction, Score
from tests.browser.conftest import PRESS_J, Seen, faults
from tests.hostile import POISON
from tests.report_worlds import LADDER, a_yes, everything, ladder_record, nothing_applied, poisoned

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

Opened = tuple["Page", Seen]
Open = Callable[..., Opened]


@pytest.fixture
def open_page(chromium: Browser, tmp_path: Path) -> Iterator[Open]:
    contexts = []

    def opened(record: RunRecord, **options: Any) -> Opened:
        path = tmp_path / "report.html"
        path.write_bytes(to_html(record).encode("utf-8"))
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        seen = Seen().watch(page)
        page.goto(path.as_uri())
        return page, seen

    yield opened
    for context in contexts:
        context.close()


def rows(page: Page) -> list[str]:
    return page.locator("#list tbody > tr:not(.detail) .number").all_inner_texts()


# ---------------------------------------------------------------- safe


def test_no_hostile_string_runs_or_fetches(open_page: Open) -> None:
    assert len(POISON) >= 1500
    page, seen = open_page(poisoned(*POISON))
    assert page.evaluate("document.querySelectorAll('#plain').length") == 0, "the script did not start"
    page.evaluate(PRESS_J, len(POISON))
    assert page.locator("#list tr.open .number").inner_text() == str(len(POISON))
    assert page.evaluate("window.pwned") is None
    assert not page.title().startswith("pwned")
    assert (
        page.evaluate("document.querySelectorAll('img,iframe,object,embed,base,link,form[action],[onerror]').length")
        == 0
    )
    assert len(seen.requests) == 1, seen.requests
    assert seen.said == []


def test_the_policy_stops_what_escaping_would_have_let_through(open_page: Open) -> None:
    page, _ = open_page(nothing_applied(Path("run")))
    stopped = page.evaluate(
        """async () => {
            const script = document.createElement('script');
            try { script.textContent = 'window.pwned = 1'; document.body.append(script); } catch { /* trusted types */ }
            let thrown = 0;
            try { document.body.innerHTML = '<b>x</b>'; } catch { thrown++; }
            try { await fetch('http://evil.example/'); } catch { thrown++; }
            return [window.pwned ?? null, thrown];
        }"""
    )
    assert stopped == [None, 2]


# ---------------------------------------------------------------- browsable


def test_filters_show_what_they_say(open_page: Open) -> None:
    record = a_yes(Path("run"))
    page, seen = open_page(record)
    scores = {m.rung: m.scores for m in record.measurements}
    pairs = list(zip(scores["fine_tune"], scores["nearest_shots"], strict=True))
    fixed = [str(i + 1) for i, (a, b) in enumerate(pairs) if a is not None and b is not None and a > b]
    failed = [str(i + 1) for i, (_, b) in enumerate(pairs) if b is None]
    every = [[s[i] for s in scores.values() if s[i] is not None] for i in range(len(pairs))]
    wrong = [str(i + 1) for i, found in enumerate(every) if not any(found)]
    disagree = [str(i + 1) for i, found in enumerate(every) if len(set(found)) > 1]
    for value, wanted in (("fixed", fixed), ("failed", failed), ("wrong", wrong), ("disagree", disagree)):
        page.check(f"input[value={value}]")
        assert rows(page) == wanted[:25]
        assert page.inner_text("#status").startswith(f"{len(wanted)} of 200 examples")
        assert page.inner_text("#meaning")
    assert seen.said == []


def test_search_finds_text_of_inputs_and_answers(open_page: Open) -> None:
    expect = pytest.importorskip("playwright.sync_api").expect
    page, _ = open_page(a_yes(Path("run")))
    page.keyboard.press("/")
    page.keyboard.type("SHUTIL.rmtree")
    status = expect(page.locator("#status"))
    status.not_to_contain_text("200 of 200")
    found = page.locator("#list .target .clip").all_inner_texts()
    assert found
    assert all("shutil.rmtree" in target for target in found)
    page.fill("#search", "TimeoutError")
    status.to_contain_text("4 of 200")
    page.fill("#search", "nothing has this")
    status.to_have_text("0 of 200 examples.")


def test_the_keyboard_alone_is_enough(open_page: Open) -> None:
    page, _ = open_page(a_yes(Path("run")))
    opened = page.locator("#list tr.open .number")
    for key, wanted in (("j", "1"), ("j", "2"), ("ArrowDown", "3"), ("k", "2"), ("ArrowUp", "1"), ("k", "1")):
        page.keyboard.press(key)
        assert opened.inner_text() == wanted
        assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    page.keyboard.press("ArrowRight")
    assert rows(page)[0] == "26"
    assert opened.count() == 0
    page.keyboard.press("Enter")
    assert opened.inner_text() == "26"
    page.keyboard.press("Escape")
    assert opened.count() == 0
    page.keyboard.press("ArrowLeft")
    assert rows(page)[0] == "1"
    page.keyboard.press("/")
    page.keyboard.type("jk")
    assert page.input_value("#search") == "jk"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") != "search"


def test_digits_choose_what_is_shown_and_a_question_mark_says_which_keys_there_are(open_page: Open) -> None:
    page, seen = open_page(a_yes(Path("run")))
    for key, value in (("2", "fixed"), ("4", "disagree"), ("5", "failed"), ("1", "all")):
        page.keyboard.press(key)
        assert page.is_checked(f"input[value={value}]")
    assert not page.locator("#keys li").first.is_visible()
    page.keyboard.press("?")
    assert set(page.locator("#keys li kbd").all_inner_texts()) == {"j", "k", "←", "→", "1–6", "/", "Enter", "Esc", "?"}
    page.keyboard.press("Escape")
    assert not page.locator("#keys li").first.is_visible()
    page.keyboard.press("/")
    page.keyboard.type("2?")
    assert page.input_value("#search") == "2?"
    assert page.is_checked("input[value=all]")
    assert seen.said == []


def test_j_goes_on_over_the_end_of_a_page(open_page: Open) -> None:
    page, _ = open_page(a_yes(Path("run")))
    for _ in range(27):
        page.keyboard.press("j")
    assert page.locator("#list tr.open .number").inner_text() == "27"
    assert "26 to 50 shown" in page.inner_text("#status")
    box = page.locator("#list tr.open").bounding_box()
    assert box is not None
    assert 0 <= box["y"] < 900


@pytest.mark.parametrize(
    ("target", "answer", "marked"),
    [
        ("a b c", "a x c", [("DEL", "b"), ("INS", "x")]),
        ("f(a)", "f(a, b=1)", [("INS", ", b=1")]),
        ("one two three", "two three", [("DEL", "one ")]),
        ("same", "same", []),
        ("blue", "a wholly other long answer that shares nothing", []),
        ("süßes ja, bitte", "süsses ja, bitte sehr", [("DEL", "süßes"), ("INS", "süsses"), ("INS", " sehr")]),
    ],
)
def test_differences_from_the_target_are_marked(
    open_page: Open, target: str, answer: str, marked: list[tuple[str, str]]
) -> None:
    record = a_yes(Path("run"))
    example = Example("e", "q", target)
    given = Measurement("zero_shot", (Prediction("e", Completion(answer), Score(0.0, "no")),))
    page, _ = open_page(replace(record, holdout=(example,), measurements=(given,)))
    page.keyboard.press("j")
    found = page.evaluate(
        "[...document.querySelectorAll('.detail ins, .detail del')].map((n) => [n.tagName, n.textContent])"
    )
    assert sorted(map(tuple, found)) == sorted(marked)
    assert page.locator(".detail dd pre").nth(1).inner_text() == target
    kept = page.evaluate(
        "(() => { const n = document.querySelectorAll('.detail dd pre')[2].cloneNode(true);"
        " n.querySelectorAll('del').forEach((d) => d.remove()); return n.textContent; })()"
    )
    assert kept == answer


def test_without_script_answer_charts_and_first_examples_are_seen(open_page: Open) -> None:
    page, seen = open_page(a_yes(Path("run")), java_script_enabled=False)
    assert page.locator("svg.wide").first.is_visible()
    assert page.locator("#plain tbody tr").count() == 50
    assert not page.locator("#browser").is_visible()
    assert page.locator("h1").is_visible()
    assert seen.said == []


@pytest.mark.parametrize("width", [320, 400, 800, 1280])
def test_the_page_never_scrolls_sideways(open_page: Open, width: int) -> None:
    page, _ = open_page(a_yes(Path("run")), viewport={"width": width, "height": 800})
    page.keyboard.press("j")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shown = "narrow" if width <= 736 else "wide"
    assert page.locator(f"svg.{shown}").first.is_visible()
    detail, table = page.locator(".detail").bounding_box(), page.locator("#list").bounding_box()
    assert detail is not None
    assert table is not None
    assert abs(detail["width"] - page.locator("#list tr.open").bounding_box()["width"]) < 2  # type: ignore[index]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_chart_text_can_be_read_in_both_schemes(open_page: Open, scheme: str) -> None:
    page, _ = open_page(a_yes(Path("run")), color_scheme=scheme)
    worst = page.evaluate(
        """() => {
            const light = (colour) => {
                const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
                    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const paper = light(getComputedStyle(document.body).backgroundColor);
            const ratio = (ink) => (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
            const texts = [...document.querySelectorAll('svg.wide text')].map((n) => light(getComputedStyle(n).fill));
            const words = [...document.querySelectorAll('h1, p, li, td, th, caption')]
                .map((n) => light(getComputedStyle(n).color));
            return Math.min(...[...texts, ...words].map(ratio));
        }"""
    )
    assert worst >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_bars_the_way_for_those_who_see_or_move_otherwise(open_page: Open, scheme: str, width: int) -> None:
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}, "bypass_csp": True}
    page, _ = open_page(everything(Path("run")), **options)
    page.keyboard.press("j")
    page.keyboard.press("?")
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert faults(page) == []


def test_the_printed_page_holds_the_answer_and_every_chart_in_ink(open_page: Open) -> None:
    page, _ = open_page(everything(Path("run")), color_scheme="dark")
    page.emulate_media(media="print")
    assert page.locator("h1").is_visible()
    assert page.locator("svg.wide").evaluate_all("all => all.every((each) => each.getBoundingClientRect().width > 100)")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()


# ---------------------------------------------------------------- quick


def test_five_thousand_examples_on_ten_rungs_stay_quick(open_page: Open) -> None:
    ladder = (*LADDER, *(replace(LADDER[-1], name=f"fine_tune_{i}", skill=0.8 + i / 50) for i in range(3)))
    started = time.monotonic()
    page, _ = open_page(ladder_record(Path("run"), n=5000, ladder=ladder))
    assert time.monotonic() - started < 30
    took = page.evaluate(
        """async () => {
            const times = [];
            const timed = (act) => { const t = performance.now(); act(); times.push(performance.now() - t); };
            const press = (key) => document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
            for (let i = 0; i < 50; i++) timed(() => press('j'));
            for (const radio of document.querySelectorAll('input[name=filter]')) timed(() => radio.click());
            const search = document.getElementById('search');
            for (const text of ['rmtree', 'rmtree(', '']) {
                search.value = text;
                search.dispatchEvent(new Event('input'));
                await new Promise((done) => setTimeout(done, 400));
            }
            return Math.max(...times);
        }"""
    )
    assert took < 500
