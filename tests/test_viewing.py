"""The page while a run goes on: what a run tells, what a second process reads of it, and who may ask for it."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import threading
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from shouldtune.errors import InputError
from shouldtune.ladder import climb
from shouldtune.progress import Progress
from shouldtune.report.page import to_html
from shouldtune.run import load_run, newest_run
from shouldtune.task import load_task
from shouldtune.trail import FILE, Trail, is_alive
from shouldtune.types import Completion, Prediction, Score
from shouldtune.viewing.partial import doing, record_of, under_way
from shouldtune.viewing.told import Follower
from tests.conftest import MakeTask, numbered_rows
from tests.report_worlds import a_yes
from tests.test_ladder import GOAL, SIMULATED, WHOLE

ABILITIES = "scripted:base=0.2,shots@4=0.6,tuned=0.93,fails=0.05"


class Killed(Exception):
    """As if the process had been ended here."""


class KilledAt(Progress):
    """Ends a climb after so many answers of one rung."""

    def __init__(self, rung: str, after: int) -> None:
        self.rung, self.left = rung, after

    def predicted(self, name: str, prediction: Prediction) -> None:
        self.left -= name == self.rung
        if self.left < 0:
            raise Killed


def a_task(make_task: MakeTask) -> Path:
    return make_task(numbered_rows(400), model=ABILITIES, tune=ABILITIES, goal=GOAL)


def cut_off(make_task: MakeTask, rung: str = "few_shot", after: int = 20) -> Path:
    """The folder of a run that was ended in the midst of a rung."""
    task = a_task(make_task)
    with pytest.raises(Killed):
        asyncio.run(climb(load_task(task), WHOLE, KilledAt(rung, after)))
    return newest_run(task)


def text_of(page: str) -> str:
    shown = page[page.index("</style>") : page.index('<script type="application/json"')]
    return " ".join(re.sub("<[^>]+>", " ", shown).split())


# ---------------------------------------------------------------- what a run tells


def test_a_finished_run_has_told_every_answer_and_its_end(make_task: MakeTask) -> None:
    record = asyncio.run(climb(load_task(a_task(make_task)), SIMULATED))
    follower = Follower(record.folder)
    assert follower.read_on()
    told = follower.told
    assert told.ended
    for measurement in record.measurements:
        heard = told.rungs[measurement.rung].predictions
        assert {p.example_id: p for p in measurement.predictions} == heard
    assert list(told.rungs) == [rung.name for rung in record.verdict.rungs]
    assert told.skipped == {r.name: r.skipped_because for r in record.verdict.rungs if r.name in told.skipped}
    assert not is_alive(record.folder)


def test_a_run_that_was_cut_off_can_be_looked_at_and_gives_no_answer(make_task: MakeTask) -> None:
    folder = cut_off(make_task)
    follower = Follower(folder)
    follower.read_on()
    record = record_of(folder, follower.told)
    names = [measurement.rung for measurement in record.measurements]
    assert "zero_shot" in names
    rungs = {rung.name: rung for rung in record.verdict.rungs}
    assert rungs["zero_shot"].n + rungs["zero_shot"].unmeasured == len(record.holdout)
    assert rungs["fine_tune"].skipped_because == "not reached"
    now = under_way(follower.told, alive=is_alive(folder), quiet_for=0.0)
    assert now.state == "cut off"
    page = text_of(to_html(record, now))
    assert "Not known yet: the run was cut off." in page
    assert "goes on with it" in page
    assert "Yes:" not in page


def test_its_intervals_are_those_of_the_verdict_so_that_looking_early_misleads_nobody(make_task: MakeTask) -> None:
    record = asyncio.run(climb(load_task(a_task(make_task)), SIMULATED))
    follower = Follower(record.folder)
    follower.read_on()
    seen = {rung.name: rung for rung in record_of(record.folder, follower.told).verdict.rungs}
    for rung in record.verdict.rungs:
        assert (seen[rung.name].low, seen[rung.name].high, seen[rung.name].n) == (rung.low, rung.high, rung.n)


def test_answers_that_came_before_their_turn_wait_for_those_before(tmp_path: Path) -> None:
    """Else the quick ones, which may be the easy ones, would be taken for all."""
    told = Follower(tmp_path).told
    holdout = a_yes(tmp_path).holdout
    told.hear({"event": "begun", "rungs": [{"name": "few_shot", "training": False, "uses_llm": True}]})
    for place in (0, 1, 3):
        said = {"event": "predicted", "name": "few_shot", "example_id": holdout[place].id}
        told.hear({**said, "completion": {"text": "x"}, "score": {"value": 1.0}})
    (tmp_path / "run.json").write_text(json.dumps({"goal": {"quality": 0.8}}))
    rows = [{"id": e.id, "input": e.input, "target": e.target, "accepted": []} for e in holdout]
    (tmp_path / "holdout.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (measured,) = record_of(tmp_path, told).measurements
    assert [p.example_id for p in measured.predictions] == [holdout[0].id, holdout[1].id]


def test_a_run_that_goes_on_begins_its_tale_anew(make_task: MakeTask) -> None:
    folder = cut_off(make_task)
    follower = Follower(folder)
    follower.read_on()
    assert not follower.told.ended
    asyncio.run(climb(load_task(folder.parent.parent), WHOLE))
    assert follower.read_on()
    assert follower.told.ended
    record = load_run(folder)
    assert len(follower.told.rungs["few_shot"].predictions) == len(record.holdout)


def test_a_torn_line_and_one_that_is_none_are_left_alone(tmp_path: Path) -> None:
    trail = Trail(Progress())
    trail.begin(tmp_path, (), {})
    trail.noted("one")
    path = tmp_path / FILE
    follower = Follower(tmp_path)
    with path.open("a", encoding="utf-8") as file:
        file.write('nonsense\n[1]\n{"event": "noted"}\n{"event": "noted", "text": "t')
        file.flush()
        assert follower.read_on()
        assert follower.told.noted == ["one"]
        file.write('wo"}\n')
    assert follower.read_on()
    assert follower.told.noted == ["one", "two"]
    assert not follower.read_on()
    trail.close()


def test_a_process_that_is_killed_lets_go_of_its_run(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from shouldtune.trail import Trail; "
        "from shouldtune.progress import Progress; t = Trail(Progress()); t.begin(Path(sys.argv[1]), (), {}); "
        "print('begun', flush=True); time.sleep(60)"
    )
    running = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stdout.readline().strip() == b"begun"
    assert is_alive(tmp_path)
    running.kill()
    running.wait()
    running.stdout.close()
    assert not is_alive(tmp_path)


def test_a_run_whose_tale_cannot_be_written_goes_on_without(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shouldtune.trail.fcntl.flock", full)
    trail = Trail(Progress())
    trail.begin(make_task([]), (), {})
    trail.predicted("few_shot", Prediction("e", Completion("x"), Score(1.0)))
    trail.end()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no disk that is always full")
def test_a_run_goes_on_when_the_disk_fills_up_on_the_way(make_task: MakeTask) -> None:
    trail = Trail(Progress())
    trail.begin(make_task([]), (), {})
    trail.close()
    with Path("/dev/full").open("w") as full:
        trail._file = full
        for _ in range(3):
            trail.noted("x")
        trail.end()
        assert trail._file is None


def test_the_newest_run_is_found_also_while_it_has_no_verdict(make_task: MakeTask) -> None:
    folder = cut_off(make_task)
    assert newest_run(folder.parent.parent) == folder
    assert newest_run(folder) == folder
    with pytest.raises(InputError, match="there is no run here"):
        newest_run(folder / "models")


def test_what_a_run_does_is_said_in_words(make_task: MakeTask) -> None:
    follower = Follower(cut_off(make_task))
    follower.read_on()
    told = follower.told
    assert re.fullmatch(r"few_shot: measuring, \d+ of at most 120 examples, quality 0\.\d{3}\.", doing(told))
    for event, said in (
        ({"event": "trained", "done": 3, "total": 40, "loss": 0.5}, "training, step 3 of 40, loss 0.500."),
        ({"event": "called", "by": "few_shot", "purpose": "fit", "calls": 9}, "choosing settings, 9 answers."),
        ({"event": "called", "by": "forgetting", "purpose": "measure", "calls": 1}, "what was forgotten, 1 answer."),
        ({"event": "skipped", "name": "classic", "because": "no labels"}, "classic: skipped."),
    ):
        told.hear(event)
        assert doing(told).endswith(said)


# ---------------------------------------------------------------- who may ask


def serving(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A real `shouldtune view`, and its address."""
    command = [sys.executable, "-m", "shouldtune.cli", "view", str(folder)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert running.stdout is not None
    return running, running.stdout.readline().decode().strip()


def ask(
    address: str, method: str = "GET", path: str | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    host, _, rest = address.removeprefix("http://").partition("/")
    with closing(HTTPConnection(*host.split(":"), timeout=20)) as connection:
        connection.putrequest(method, f"/{rest}" if path is None else path, skip_host="host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        stream = answer.headers.get("content-type", "").startswith("text/event-stream")
        return (
            answer.status,
            {k.lower(): v for k, v in answer.headers.items()},
            answer.read(20) if stream else answer.read(),
        )


def test_nobody_but_its_own_page_may_ask_and_nothing_can_be_written(make_task: MakeTask) -> None:
    """Every route and method, asked from elsewhere; and every answer carries the headers that keep it here."""
    running, address = serving(cut_off(make_task))
    try:
        port = address.split(":")[2].split("/")[0]
        key = address.split("/")[3]
        routes = ("/", f"/{key}/", f"/{key}/events", "/favicon.ico", f"/{key}", "/elsewhere", "/%2e%2e/etc/passwd")
        hosts = (
            "evil.example",
            f"evil.example:{port}",
            "127.0.0.1",
            f"127.0.0.1.evil.example:{port}",
            "",
            "localhost:1",
        )
        origins = (
            "http://evil.example",
            "null",
            "file://",
            f"https://127.0.0.1:{port}",
            f"http://127.0.0.1:{port}.evil",
        )
        methods = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")
        for route in routes:
            for method in methods:
                for host in hosts:
                    assert ask(address, method, route, host=host)[0] in {400, 421}, (route, method, host)
                for origin in origins:
                    assert ask(address, method, route, origin=origin)[0] == 403, (route, method, origin)
                assert ask(address, method, route, sec_fetch_site="cross-site", sec_fetch_mode="no-cors")[0] == 403
                if method not in {"GET", "HEAD"}:
                    assert ask(address, method, route)[0] == 405
        for wrong in ("/", f"/{key[:-1]}/", f"/{key}x/events", "/elsewhere", "/%2e%2e/etc/passwd", f"/{key}"):
            status, headers, _ = ask(address, path=wrong)
            assert status == 404, wrong
            assert headers["x-frame-options"] == "DENY"
        status, headers, page = ask(address, origin=f"http://127.0.0.1:{port}")
        assert status == 200
        assert b"the run was cut off" in page
        policy = headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers
        assert ask(f"{address}events")[2].startswith(b'data: {"state":')
        with closing(socket.socket()) as elsewhere:
            elsewhere.settimeout(2)
            addresses = {found[4][0] for found in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
            for other in addresses - {"127.0.0.1"}:
                assert elsewhere.connect_ex((str(other), int(port))) != 0
    finally:
        running.terminate()
        assert running.wait(timeout=15) in {0, -15}
        assert running.stdout is not None
        running.stdout.close()


def test_a_port_that_is_taken_is_said_in_one_line(make_task: MakeTask) -> None:
    folder = cut_off(make_task)
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "shouldtune.cli", "view", str(folder), "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: port {port} cannot be had")


@pytest.mark.slow
def test_a_stream_ends_with_its_server_and_tells_what_is_new(make_task: MakeTask) -> None:
    folder = cut_off(make_task)
    running, address = serving(folder)
    host, _, rest = address.removeprefix("http://").partition("/")
    with closing(HTTPConnection(*host.split(":"), timeout=60)) as connection:
        connection.request("GET", f"/{rest}events")
        answer = connection.getresponse()
        first = json.loads(answer.readline().removeprefix(b"data: "))
        assert first["state"] == "cut off"
        going_on = threading.Thread(target=lambda: asyncio.run(climb(load_task(folder.parent.parent), WHOLE)))
        going_on.start()
        states = [first["state"]]
        while states[-1] != "ended":
            line = answer.readline()
            if line.startswith(b"data: "):
                states.append(json.loads(line.removeprefix(b"data: "))["state"])
        going_on.join()
        assert b"Not known yet" not in ask(address)[2]
        running.terminate()
        while answer.readline():
            pass
    running.wait(timeout=15)
    assert running.stdout is not None
    running.stdout.close()
