"""The page while a run goes on, in a real Chromium: it fills in, it loses no place, and it is for its own tab alone."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from shouldtune.ladder import climb
from shouldtune.progress import Progress
from shouldtune.report.words import headline
from shouldtune.run import load_run, newest_run
from shouldtune.task import load_task
from shouldtune.trail import Trail
from shouldtune.types import Completion, Fitted, Models, Prediction, Score, Skipped, Task, Trial
from tests.browser.conftest import PRESS_J, Seen, faults
from tests.conftest import MakeTask
from tests.hostile import POISON
from tests.test_ladder import WHOLE
from tests.test_viewing import a_task, cut_off, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


Made = TypeVar("Made")


def in_a_thread(make: Callable[..., Made], *given: Any) -> Made:
    """Beside the loop that drives the browser."""
    with ThreadPoolExecutor(1) as beside:
        return beside.submit(make, *given).result()


class Slow(Progress):
    """A run that can be watched."""

    def predicted(self, name: str, prediction: Prediction) -> None:
        time.sleep(0.03)


def until(page: Page, true: str) -> None:
    """Wait until the expression holds; the page's policy forbids to wait within it."""
    for _ in range(300):
        if page.evaluate(true):
            return
        page.wait_for_timeout(200)
    raise AssertionError(f"never {true}")


@contextmanager
def viewed(folder: Path) -> Iterator[str]:
    """The address of a real `shouldtune view`."""
    running, address = serving(folder)
    try:
        yield address
    finally:
        running.terminate()
        running.wait(timeout=20)
        if running.stdout is not None:
            running.stdout.close()


@contextmanager
def tab(chromium: Browser, address: str, **options: Any) -> Iterator[tuple[Page, Seen]]:
    context = chromium.new_context(**options)
    page = context.new_page()
    seen = Seen().watch(page)
    page.goto(address)
    yield page, seen
    context.close()


def test_the_page_fills_in_while_the_run_goes_on_and_keeps_the_readers_place(
    chromium: Browser, make_task: MakeTask
) -> None:
    task = a_task(make_task)
    running = threading.Thread(target=lambda: asyncio.run(climb(load_task(task), WHOLE, Slow())))
    running.start()
    while not list(task.glob("runs/*/progress.jsonl")):
        time.sleep(0.1)
    with viewed(newest_run(task)) as address, tab(chromium, address) as (page, seen):
        assert "Not known yet: the run is under way." in page.inner_text("h1").replace("\n", " ")
        said, counts, marks = set[str](), set[str](), set[int]()
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.fill("#search", "birch")
        until(page, "!document.getElementById('status').textContent.startsWith('120 of')")
        page.keyboard.press("Enter")
        page.keyboard.press("j")
        at = page.locator("#list tr.open .number").inner_text()
        while page.locator("h1").inner_text().count("Not known yet"):
            said.add(page.inner_text("#doing"))
            marks.add(page.locator("#ladder tbody tr:not(.skipped)").count())
            counts.add(page.locator("input[value=disagree] + span .count").inner_text())
            assert page.locator("#list tr.open .number").inner_text() == at
            assert page.input_value("#search") == "birch"
            page.wait_for_timeout(300)
        assert len(said) > 5
        assert len(marks) > 1
        assert len(counts) > 1
        answer, clause = headline(load_run(newest_run(task)).verdict)
        assert page.inner_text("h1").endswith(f"{answer}: {clause}")
        assert page.locator("#list tr.open .number").inner_text() == at
        assert not page.locator("#now").is_visible()
        assert page.locator("#list thead .mark").count() >= 5
        assert seen.said == []
        assert all(request.startswith(address.split("/", 3)[0]) and "127.0.0.1" in request for request in seen.requests)
    running.join()


def test_a_page_whose_server_is_gone_says_so(chromium: Browser, make_task: MakeTask) -> None:
    running, address = serving(in_a_thread(cut_off, make_task))
    with tab(chromium, address) as (page, _):
        assert "cut off" in page.inner_text("#doing")
        running.terminate()
        running.wait(timeout=20)
        until(page, "document.getElementById('now').dataset.state === 'lost'")
        assert "Nothing is heard" in page.inner_text("#doing")
    if running.stdout is not None:
        running.stdout.close()


def test_the_live_page_bars_the_way_for_nobody(chromium: Browser, make_task: MakeTask) -> None:
    with viewed(in_a_thread(cut_off, make_task)) as address, tab(chromium, address, bypass_csp=True) as (page, _):
        page.keyboard.press("j")
        assert faults(page) == []


# ---------------------------------------------------------------- hostile text


@dataclass(frozen=True)
class Named:
    """A rung with a name, which is all that a tale begins with."""

    name: str
    training: bool = False
    uses_llm: bool = True

    async def fit(self, task: Task, models: Models) -> Fitted | Skipped:
        return Skipped("never fitted")


def hostile_run(folder: Path) -> Trail:
    """A run under way with every hostile string in every field that a model or a user fills."""
    folder.mkdir()
    rows = [
        {"id": f"{at} {text}", "input": text, "target": f"t {text}", "accepted": [f"a {text}"]}
        for at, text in enumerate(POISON)
    ]
    (folder / "holdout.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = {"name": POISON[0], "model": POISON[1], "instruction": POISON[2], "goal": {"quality": 0.9}}
    (folder / "run.json").write_text(json.dumps({**asked, "list": POISON, "created": POISON[3]}))
    trail = Trail(Progress())
    names = [f"{text}#" for text in POISON[::60]]
    trail.begin(folder, [*map(Named, names), *map(Named, POISON[1::60])], {"look": 1, "simulated": True})
    for text in POISON:
        trail.noted(text)
        trail.tried(names[0], Trial(text, 0.5, 2))
    for name in POISON[1::60]:
        trail.rung_skipped(name, name)
    for row, text in zip(rows, POISON, strict=True):
        trail.predicted(names[0], Prediction(row["id"], Completion(f"{text}!"), Score(0.0, text, {text: 1.0})))
        trail.predicted(names[1], Prediction(row["id"], Completion(text, error=text), None))
    trail.measuring(names[1], len(POISON))
    return trail


def test_no_hostile_string_runs_or_fetches_on_the_live_page(chromium: Browser, tmp_path: Path) -> None:
    with (
        closing(hostile_run(tmp_path / "run")) as trail,
        viewed(tmp_path / "run") as address,
        tab(chromium, address) as (page, seen),
    ):
        assert page.evaluate("document.querySelectorAll('#plain').length") == 0, "the script did not start"
        assert POISON[0].split()[0] in page.inner_text("main") or page.locator("#examples").is_visible()
        for text in POISON[:40]:
            trail.noted(f"again {text}")
        version = page.get_attribute("#now", "data-version")
        until(page, f"document.getElementById('now').dataset.version !== '{version}'")
        page.evaluate(PRESS_J, len(POISON))
        assert page.locator("#list tr.open .number").inner_text() == str(len(POISON))
        assert page.evaluate("window.pwned") is None
        assert not page.title().startswith("pwned")
        forbidden = "img,iframe,object,embed,base,link,form[action],[onerror]"
        assert page.evaluate(f"document.querySelectorAll('{forbidden}').length") == 0
        assert all(request.startswith(address) for request in seen.requests), seen.requests
        assert seen.said == []


# ---------------------------------------------------------------- other pages in the same browser


class Quiet(http.server.BaseHTTPRequestHandler):
    """Another site."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title><body></body>")

    def log_message(self, *_: Any) -> None:
        pass


READ = """async (address) => {
    const tried = {};
    const text = (options) => fetch(address, options).then((answer) => answer.text()).catch(() => '');
    tried.fetch = await text({});
    tried.opaque = await text({ mode: 'no-cors' });
    tried.posted = await text({ method: 'POST', mode: 'no-cors', body: 'x' });
    const loaded = (tag, name) => new Promise((done) => {
        const node = document.createElement(tag);
        node[name] = address;
        node.onload = () => done('loaded');
        node.onerror = () => done('');
        document.body.append(node);
        setTimeout(() => done(''), 3000);
    });
    tried.image = await loaded('img', 'src');
    tried.script = await loaded('script', 'src');
    const frame = document.createElement('iframe');
    frame.src = address;
    document.body.append(frame);
    await new Promise((done) => setTimeout(done, 1500));
    try { tried.frame = frame.contentDocument ? frame.contentDocument.body.innerText : ''; } catch { tried.frame = ''; }
    const stream = new EventSource(address + 'events');
    tried.stream = await new Promise((done) => {
        stream.onmessage = (event) => done(event.data);
        setTimeout(() => done(''), 3000);
    });
    return tried;
}"""


def test_no_other_page_of_the_browser_can_read_it_not_even_under_a_name_that_points_here(
    chromium: Browser, make_task: MakeTask
) -> None:
    """With the address in its hands, and with DNS rebinding: a name of the attacker's that resolves to this machine."""
    elsewhere = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
    with viewed(in_a_thread(cut_off, make_task)) as address:
        page = chromium.new_page()
        for host in ("127.0.0.1", "evil.example"):
            page.goto(f"http://{host}:{elsewhere.server_port}/")
            assert page.title() == "elsewhere"
            assert set(page.evaluate(READ, address).values()) == {""}, host
        port = address.split(":")[2].split("/", maxsplit=1)[0]
        rebound = page.goto(f"http://evil.example:{port}/{address.split('/', 3)[3]}")
        assert rebound is not None
        assert rebound.status == 421
        assert "cut off" not in page.content()
        assert set(page.evaluate(READ, page.url).values()) <= {"", "this server is not that host\n"}
        page.close()
    elsewhere.shutdown()
    elsewhere.server_close()
