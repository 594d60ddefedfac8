"""How quick the report's page is with 5,000 examples on ten rungs, in a real Chromium.

    PYTHONPATH=. python benchmarks/report/page.py            # needs Chromium, and the packages of the tests

Two worlds: answers of a line, and answers of some 400 letters of which most are wrong in their own way. Told are the
file's size, the seconds to write it, to the first paint, until the list of examples can be used, and the longest
milliseconds until the next frame after a filter, a search, a step through the list and a turned page.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import sync_playwright

from shouldtune.report.page import to_html
from shouldtune.run import RunRecord
from tests.report_worlds import LADDER, ladder_record

EXAMPLES, TURNS = 5000, 3
TEN = (*LADDER, *(replace(LADDER[-1], name=f"fine_tune_{at}", skill=0.8 + at / 50) for at in range(3)))
MEASURE = """async () => {
    const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    const timed = async (act) => { const t = performance.now(); act(); await frame(); return performance.now() - t; };
    const longest = async (acts) => {
        let most = 0;
        for (const act of acts) most = Math.max(most, await timed(act));
        return most;
    };
    const press = (key) => document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
    const search = document.getElementById('search');
    const look = (text) => async () => {
        search.value = text;
        search.dispatchEvent(new Event('input'));
        await new Promise((done) => setTimeout(done, 115)); // the page waits 120 ms for the next letter
        const t = performance.now();
        await new Promise((done) => setTimeout(done, 6));
        await frame();
        return performance.now() - t - 5;
    };
    const radios = [...document.querySelectorAll('input[name=filter]')];
    const filter = await longest([...radios, ...radios].map((radio) => () => radio.click()));
    radios[0].click();
    let first = 0, later = 0;
    first = await look('rmtree')();
    for (const text of ['rmtree(', 'nothing has this', 'strict', '']) later = Math.max(later, await look(text)());
    const step = await longest(Array.from({ length: 60 }, () => () => press('j')));
    const turn = await longest(Array.from({ length: 20 }, () => () => document.getElementById('next').click()));
    const paint = performance.getEntriesByName('first-contentful-paint')[0].startTime;
    const ready = performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd;
    return { paint, ready, filter, first, later, step, turn };
}"""


def long_answers(record: RunRecord) -> RunRecord:
    """The same with some 400 letters an answer, the wrong ones each in its own way."""
    draw, words = random.Random(0), ("path", "file", "read", "sort", "token", "bytes", "split", "count", "open", "list")

    def longer(text: str, right: bool) -> str:
        return " ".join([text, *(words if right else draw.choices(words, k=12)) * 6])

    holdout = tuple(replace(e, target=longer(e.target, True)) for e in record.holdout)
    measurements = tuple(
        replace(
            m,
            predictions=tuple(
                replace(
                    p, completion=replace(p.completion, text=longer(p.completion.text, bool(p.score and p.score.value)))
                )
                for p in m.predictions
            ),
        )
        for m in record.measurements
    )
    return replace(record, holdout=holdout, measurements=measurements)


def timings(path: Path) -> dict[str, float]:
    """Medians over the turns, each in a new browser."""
    found: list[dict[str, Any]] = []
    with sync_playwright() as started:
        for _ in range(TURNS):
            browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(path.as_uri())
            found.append(page.evaluate(MEASURE))
            browser.close()
    return {name: round(median(each[name] for each in found)) for name in found[0]}


def main() -> None:
    short = ladder_record(Path("run"), n=EXAMPLES, ladder=TEN)
    for name, record in (("a line an answer", short), ("400 letters an answer", long_answers(short))):
        started = time.monotonic()
        page = to_html(record).encode()
        took = time.monotonic() - started
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "page.html"
            path.write_bytes(page)
            told = {"megabytes": round(len(page) / 1e6, 1), "written_s": round(took, 1), **timings(path)}
        print(json.dumps({"world": name, **told}))


if __name__ == "__main__":
    main()
