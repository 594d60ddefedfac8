"""Fine-tuning at a provider: files and jobs against a real server on the loopback interface, cut off at every step."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from shouldtune.asked import Climb, chosen_rungs, dollars_so_far, price_at
from shouldtune.cli import app
from shouldtune.errors import CannotMeasure, InputError, NotTrained, ShouldTuneError
from shouldtune.judgement import Verdict
from shouldtune.ladder import climb
from shouldtune.models.audit import accounts_of
from shouldtune.models.open import open_fitted
from shouldtune.models.remote import open_remote
from shouldtune.planning.leaving import was_agreed, what_leaves, write_agreed
from shouldtune.progress import Progress
from shouldtune.run import RunRecord, jobs_path, ledger_path
from shouldtune.task import load_task
from shouldtune.tuning.job_journal import JobJournal
from shouldtune.tuning.jobs_so_far import tuned_ids
from shouldtune.tuning.provider_tunable import order_of
from shouldtune.tuning.training_file import personal_rows
from tests.conftest import MakeTask, numbered_rows
from tests.provider_training import QUICK, TEXTS, tune
from tests.tuning_server import TuningServer, When, answers_of

pytest.importorskip("openai")

HOW = Climb(
    chosen_rungs(["zero_shot", "fine_tune"]),
    allow_simulated=True,
    probing=None,
    forgetting=False,
    may_send=True,
    patience=QUICK,
)
ROWS = numbered_rows(120)
PRICES = {"read": 1.0, "written": 2.0}
KEY = "sk-a-key-that-nobody-may-see"


@pytest.fixture
def server() -> Iterator[TuningServer]:
    with TuningServer(answers_of(ROWS)).running() as started:
        yield started


class Heard(Progress):
    """Keeps what it is told; says yes where `yes`."""

    def __init__(self, *, yes: bool = False) -> None:
        self.yes = yes
        self.notes: list[str] = []
        self.questions: list[str] = []
        self.steps: list[tuple[int, int, float]] = []

    def noted(self, text: str) -> None:
        self.notes.append(text)

    def trained(self, done: int, total: int, loss: float) -> None:
        self.steps.append((done, total, loss))

    def agrees(self, question: str) -> bool:
        self.questions.append(question)
        return self.yes


def task_at(server: TuningServer, make_task: MakeTask, **changes: Any) -> Path:
    return make_task(ROWS, **{"model": "scripted:base=0.2", "tune": server.tune, "goal": {"quality": 0.8}, **changes})


def run(folder: Path, how: Climb = HOW, progress: Progress | None = None) -> RunRecord:
    return asyncio.run(climb(load_task(folder), how, progress))


def skipped(record: RunRecord) -> str:
    found = next(rung for rung in record.verdict.rungs if rung.name == "fine_tune")
    assert not found.applied
    return found.skipped_because or ""


def said(verdict: Verdict) -> tuple[Any, ...]:
    """What a verdict comes to, without how long it took."""
    return (verdict.answer, verdict.reason, verdict.rung, [(r.name, r.quality, r.n, r.low) for r in verdict.rungs])


# ---------------------------------------------------------------- the whole way


def test_a_climb_trains_at_a_provider_and_its_result_can_be_opened_again(
    server: TuningServer, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOULDTUNE_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "an-organisation-of-another-provider")
    folder, heard = task_at(server, make_task), Heard()
    record = run(folder, progress=heard)
    assert (record.verdict.answer, record.verdict.reason, record.verdict.rung) == ("yes", "tune", "fine_tune")
    assert (server.seen["upload"], server.seen["start"]) == (1, 1)
    spec = json.loads((record.folder / "models" / "fine_tune" / "model.json").read_text())["model"]
    assert (spec["kind"], spec["base_url"]) == ("remote", server.url)
    assert spec["name"].startswith("ft:ftjob-1")
    opened = open_fitted(record.folder / "models" / "fine_tune")
    assert opened.spec()["model"] == spec
    sent = [json.loads(line) for line in server.contents["file-1"].splitlines()]
    assert [message["role"] for message in sent[0]["messages"]] == ["system", "user", "assistant"]
    assert {row["messages"][1]["content"] for row in sent} <= {row["input"] for row in ROWS}
    trials = next(m for m in record.measurements if m.rung == "fine_tune").trials
    assert [trial.setting for trial in trials] == [
        f"the provider's rate, with the instruction, checkpoint {i}" for i in range(1, 5)
    ]
    assert heard.steps == [(1, 9, 0.5)]
    assert any("The job has begun" in note for note in heard.notes)
    auth = {headers.get("Authorization") for headers in server.headers}
    assert auth == {f"Bearer {KEY}"}
    assert not any(name.lower().startswith("openai-") for headers in server.headers for name in headers)
    held = {example.input for example in load_task(folder).holdout}
    assert not any(text.encode() in server.contents["file-1"] for text in held)
    asked = dict(server.seen)
    assert said(run(folder).verdict) == said(record.verdict)
    assert dict(server.seen) == asked  # the same run again asks nothing


def test_a_checkpoint_that_cannot_be_asked_is_passed_over(server: TuningServer, make_task: MakeTask) -> None:
    server.checkpoints_answer = False
    record = run(task_at(server, make_task))
    assert record.verdict.reason == "tune"
    trials = next(m for m in record.measurements if m.rung == "fine_tune").trials
    assert [trial.score for trial in trials] == [None, None, None, 1.0]


def test_where_the_base_cannot_be_asked_what_was_forgotten_stays_unknown(
    server: TuningServer, make_task: MakeTask
) -> None:
    server.base_answers = False
    verdict = run(task_at(server, make_task), replace(HOW, forgetting=True)).verdict
    assert verdict.reason == "tune"
    assert verdict.forgetting is None


# ---------------------------------------------------------------- cut off at every step

STEPS = ("list_files", "upload", "list_jobs", "start", "job", "events", "list_checkpoints", "model")
WHOLE = ["ft:ftjob-1:step-1", "ft:ftjob-1:step-2", "ft:ftjob-1:step-3", "ft:ftjob-1"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_lost_request_leads_to_no_second_upload_and_no_second_job(
    server: TuningServer, tmp_path: Path, step: str, when: When
) -> None:
    server.lose[step, when] = None
    assert asyncio.run(tune(server.tune, tmp_path)) == WHOLE
    assert (len(server.files), len(server.jobs)) == (1, 1)
    assert not server.lose


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_training_that_is_cut_off_at_a_request_is_picked_up(
    server: TuningServer, tmp_path: Path, step: str, when: When
) -> None:
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cut_off_at(server, step, when, lambda: tune(server.tune, tmp_path)))
    assert asyncio.run(tune(server.tune, tmp_path)) == WHOLE
    assert (len(server.files), len(server.jobs)) == (1, 1)


async def cut_off_at(server: TuningServer, step: str, when: When, work: Callable[[], Awaitable[object]]) -> None:
    """Do the work, and cancel it when the server is at that step, whose reply is lost."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def cut() -> None:
        loop.call_soon_threadsafe(task.cancel)

    server.lose[step, when] = cut
    await work()


@pytest.mark.parametrize(
    ("step", "when"), [("start", "after"), pytest.param("list_checkpoints", "before", marks=pytest.mark.slow)]
)
def test_a_run_that_is_cut_off_ends_with_the_verdict_of_one_that_was_not(
    server: TuningServer, make_task: MakeTask, step: str, when: When
) -> None:
    folder = task_at(server, make_task)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cut_off_at(server, step, when, lambda: climb(load_task(folder), HOW)))
    record = run(folder)
    assert (len(server.files), len(server.jobs)) == (1, 1)
    assert said(record.verdict) == said(run(task_at(server, make_task, name="another")).verdict)


KILLED = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.provider_training import tune
asyncio.run(tune(sys.argv[3], Path(sys.argv[1])))
"""


@pytest.mark.parametrize(
    ("step", "when"),
    [
        ("start", "after"),
        *(
            pytest.param(s, w, marks=pytest.mark.slow)
            for s in STEPS
            for w in ("before", "after")
            if (s, w) != ("start", "after")
        ),
    ],
)
def test_a_process_that_is_killed_starts_nothing_twice(
    server: TuningServer, tmp_path: Path, step: str, when: When
) -> None:
    children: list[subprocess.Popen[bytes]] = []
    server.lose[step, when] = lambda: os.kill(children[0].pid, signal.SIGKILL)
    root = str(Path(__file__).parent.parent)
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path), root, server.tune]
    children.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    assert children[0].wait(120) == -signal.SIGKILL
    assert asyncio.run(tune(server.tune, tmp_path)) == WHOLE
    assert (len(server.files), len(server.jobs)) == (1, 1)


def test_a_line_that_was_being_written_when_the_run_was_killed_is_left_out(
    server: TuningServer, tmp_path: Path
) -> None:
    asyncio.run(tune(server.tune, tmp_path))
    journal = tmp_path / "jobs.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][: len(lines[-1]) // 2])
    assert asyncio.run(tune(server.tune, tmp_path)) == WHOLE
    assert (len(server.files), len(server.jobs)) == (1, 1)
    assert [json.loads(line)["event"] for line in journal.read_bytes().splitlines()].count("ended") == 1


def test_a_damaged_journal_stops_the_run_in_one_line(server: TuningServer, tmp_path: Path) -> None:
    asyncio.run(tune(server.tune, tmp_path))
    journal = tmp_path / "jobs.jsonl"
    journal.write_bytes(b"not json\n" + journal.read_bytes())
    with pytest.raises(CannotMeasure, match="damaged"):
        asyncio.run(tune(server.tune, tmp_path))


@pytest.mark.parametrize("marks", [True, False])
def test_a_job_is_found_at_the_provider_where_our_journal_is_lost(
    server: TuningServer, tmp_path: Path, marks: bool
) -> None:
    server.marks = marks
    asyncio.run(tune(server.tune, tmp_path))
    (tmp_path / "jobs.jsonl").unlink()
    assert asyncio.run(tune(server.tune, tmp_path)) == WHOLE
    assert (len(server.files), len(server.jobs)) == (1, 1)


def test_where_nobody_can_tell_whether_a_job_was_started_none_is_started(server: TuningServer, tmp_path: Path) -> None:
    server.lists = False
    server.lose["start", "after"] = None
    for _ in range(2):
        with pytest.raises(NotTrained, match="look there whether it was carried out"):
            asyncio.run(tune(server.tune, tmp_path))
    assert len(server.jobs) == 1


def test_a_provider_that_lists_nothing_trains_where_nothing_is_lost(server: TuningServer, tmp_path: Path) -> None:
    server.lists = False
    assert asyncio.run(tune(server.tune, tmp_path)) == WHOLE[-1:]  # nor its checkpoints


# ---------------------------------------------------------------- refusals and failures


@pytest.mark.parametrize(
    ("step", "status", "words", "found"),
    [
        ("start", 403, "Fine-tuning is not available to you", "does not offer fine-tuning"),
        ("upload", 404, "Not found", "does not offer fine-tuning"),
        ("start", 400, "Model base-1 is not available for fine-tuning", "does not offer fine-tuning"),
        ("start", 422, "n_epochs is odd", "refused to train"),
    ],
)
def test_a_provider_that_trains_nothing_says_why(
    server: TuningServer, tmp_path: Path, step: str, status: int, words: str, found: str
) -> None:
    server.refuse[step] = (status, words)
    with pytest.raises(NotTrained, match=f"{found}.*{words}"):
        asyncio.run(tune(server.tune, tmp_path))
    server.refuse.clear()
    assert asyncio.run(tune(server.tune, tmp_path)) == WHOLE  # a refusal is no answer: it may be tried again


def test_where_a_provider_trains_nothing_the_ladder_goes_on_without_the_rung(
    server: TuningServer, make_task: MakeTask
) -> None:
    server.refuse["start"] = (403, "Fine-tuning is not available to you")
    record = run(task_at(server, make_task))
    assert "does not offer fine-tuning of base-1" in skipped(record)
    assert record.verdict.rungs[0].applied


def test_a_job_that_failed_is_a_rung_that_says_so_and_is_not_started_again_unasked(
    server: TuningServer, make_task: MakeTask
) -> None:
    server.status = "failed"
    folder = task_at(server, make_task)
    for _ in range(2):
        assert "failed: the training file was not to its liking" in skipped(run(folder))
    assert len(server.jobs) == 1
    server.status, heard = "succeeded", Heard(yes=True)
    assert run(folder, progress=heard).verdict.reason == "tune"
    assert "Start another?" in heard.questions[0]
    assert (len(server.files), len(server.jobs)) == (1, 2)


def test_a_busy_provider_is_asked_again(server: TuningServer, tmp_path: Path) -> None:
    server.refuse["start"] = (429, "too many")

    class Patient(Heard):
        def noted(self, text: str) -> None:
            if "is busy" in text:
                server.refuse.clear()

    assert asyncio.run(tune(server.tune, tmp_path, progress=Patient())) == WHOLE
    assert (server.seen["start"], len(server.jobs)) == (2, 1)


def test_a_key_is_nowhere_in_what_is_said_or_written(
    server: TuningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOULDTUNE_API_KEY", KEY)
    server.refuse["start"] = (403, "the key KEY is not allowed to do this")
    with pytest.raises(NotTrained, match=r"the key \[key\] is not allowed"):
        asyncio.run(tune(server.tune, tmp_path))
    server.refuse["start"] = (401, "bad key KEY")
    with pytest.raises(CannotMeasure, match=r"refused the key: bad key \[key\]"):
        asyncio.run(tune(server.tune, tmp_path))
    server.refuse.clear()
    asyncio.run(tune(server.tune, tmp_path))
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("yes", [True, False])
def test_whoever_ends_a_run_is_asked_whether_the_job_is_to_end_too(
    server: TuningServer, make_task: MakeTask, yes: bool
) -> None:
    folder, heard = task_at(server, make_task), Heard(yes=yes)
    server.looks = 10**6

    async def cut_off() -> None:
        running = asyncio.create_task(climb(load_task(folder), HOW, heard))
        while not server.seen["events"]:  # noqa: ASYNC110  another thread's counter
            await asyncio.sleep(0.01)
        running.cancel()
        await running

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cut_off())
    assert heard.questions == [f"Cancel the job ftjob-1 at {server.url.split('/')[2]} too?"]
    assert server.seen["cancel"] == yes
    if yes:
        assert "cancelled" in skipped(run(folder))
    else:
        assert "run the same command again to pick it up" in heard.notes[-1]
        server.looks = 1
        assert run(folder).verdict.reason == "tune"
    assert len(server.jobs) == 1


def test_what_a_provider_would_refuse_is_not_sent(server: TuningServer, tmp_path: Path) -> None:
    wrong = {
        "rows to train on": TEXTS[:9],
        "empty answer": [replace(TEXTS[0], answer=" "), *TEXTS],
        "turns": [replace(TEXTS[0], messages=TEXTS[0].messages[:1]), *TEXTS],
        "longer than": [replace(TEXTS[0], answer="word " * 60_000), *TEXTS],
    }
    for words, texts in wrong.items():
        with pytest.raises(NotTrained, match=words):
            asyncio.run(tune(server.tune, tmp_path, texts))
    assert not server.seen


def test_personal_data_are_counted_by_the_row() -> None:
    texts = [
        replace(TEXTS[0], answer="anna.berg@example.org, b@example.org"),
        replace(TEXTS[1], answer="a@b.example.org"),
    ]
    assert sum(personal_rows([*texts, *TEXTS]).values()) == 2
    assert not personal_rows(TEXTS)


# ---------------------------------------------------------------- money


def priced(server: TuningServer, training: float | None = 100.0) -> dict[str, Any]:
    base = PRICES if training is None else {**PRICES, "training": training}
    return {server.tune: base, "tuned": PRICES}


def test_a_job_is_paid_from_the_budget_by_the_tokens_that_it_trained_on(
    server: TuningServer, make_task: MakeTask
) -> None:
    record = run(task_at(server, make_task, budget=50, prices=priced(server)))
    rows = len(server.contents["file-1"].splitlines())
    job = 20 * rows * 3 * 100.0 / 1e6
    fitted = next(m for m in record.measurements if m.rung == "fine_tune").fit
    answers = (fitted.calls - 1) * (10 * 1.0 + 5 * 2.0) / 1e6
    assert fitted.usd == pytest.approx(job + answers)
    again = run(record.folder.parent.parent)
    assert said(again.verdict) == said(record.verdict)


def test_a_job_that_does_not_fit_the_budget_is_not_started(server: TuningServer, make_task: MakeTask) -> None:
    folder = task_at(server, make_task, budget=0.5, prices=priced(server))
    record = run(folder)
    assert record.verdict.provenance["budget"]["ended"]
    assert not server.jobs


def test_a_job_that_is_under_way_counts_at_the_most_that_it_can_cost(server: TuningServer, make_task: MakeTask) -> None:
    folder = task_at(server, make_task, budget=50, prices=priced(server))

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cut_off_at(server, "start", "after", lambda: climb(load_task(folder), HOW)))
    under_way = dollars_so_far(load_task(folder))[0]
    run(folder)
    job = 20 * len(server.contents["file-1"].splitlines()) * 3 * 100.0 / 1e6
    over = dollars_so_far(load_task(folder))[0]
    assert under_way > 2 * job
    assert job < over < job + 0.01


@pytest.mark.parametrize(
    ("prices", "named"),
    [({}, "training http"), ({"tuned": PRICES}, "training http")],
)
def test_a_budget_is_refused_where_the_price_of_training_is_not_known(
    server: TuningServer, make_task: MakeTask, prices: dict[str, Any], named: str
) -> None:
    folder = task_at(server, make_task, budget=5, prices=prices)
    with pytest.raises(InputError, match=named) as refused:
        run(folder)
    assert "training: ..." in refused.value.hint
    assert not server.seen


def test_a_budget_is_refused_where_the_price_of_the_result_is_not_known(
    server: TuningServer, make_task: MakeTask
) -> None:
    folder = task_at(server, make_task, budget=5, prices={server.tune: {**PRICES, "training": 1.0}})
    with pytest.raises(InputError, match="tuned"):
        run(folder)


def test_the_answers_of_a_tuned_model_are_known_by_their_id_at_every_provider(tmp_path: Path) -> None:
    bases = {"together:meta/l": "together:me/ft", "openai:g": "openai:me/ft", "http://h/v1#m": "http://h/v1#me/ft"}
    ended = {"job": "j", "status": "succeeded", "model": "me/ft", "checkpoints": []}
    ended |= {"trained_tokens": 1, "seconds": 1.0, "why": ""}
    for number, (base, tuned) in enumerate(bases.items()):
        journal = JobJournal.open(tmp_path / f"{number}.jsonl")
        journal.write("started", "mark", job="j", base=base, most_tokens=1)
        journal.write("ended", "mark", **ended)
        assert tuned_ids(journal.path) == {tuned}


@pytest.mark.parametrize("year", [2001, 2099])
def test_a_clock_that_was_set_neither_shortens_nor_lengthens_the_wait_for_a_lost_call(
    server: TuningServer, tmp_path: Path, year: int
) -> None:
    order, heard = order_of(open_remote(server.tune), TEXTS, 3), Heard()
    at = f"{year}-01-01T00:00:00+00:00"
    JobJournal.open(tmp_path / "jobs.jsonl").write("start", order.mark, at=at, base=order.model_id, most_tokens=9)
    assert asyncio.run(asyncio.wait_for(tune(server.tune, tmp_path, progress=heard), 60)) == WHOLE
    assert any("waiting to see" in note for note in heard.notes) and len(server.jobs) == 1


def test_jobs_that_failed_stay_on_the_bill_and_are_billed_at_the_price_of_today(
    server: TuningServer, make_task: MakeTask
) -> None:
    server.status = "failed"
    folder = task_at(server, make_task, prices=priced(server))
    run(folder)
    server.status = "succeeded"
    first = run(folder, progress=Heard(yes=True))
    (folder / "shouldtune.yaml").write_text((folder / "shouldtune.yaml").read_text().replace("100.0", "200.0"))
    again = run(folder)
    paid = [next(m.fit.usd for m in record.measurements if m.rung == "fine_tune") or 0.0 for record in (first, again)]
    rows = len(server.contents["file-1"].splitlines())
    ended = [ended for _, ended in JobJournal.open(jobs_path(folder)).jobs() if ended is not None]
    tokens = sum(each.trained_tokens or 0 for each in ended)
    assert len(ended) == 2 and tokens >= 20 * rows * 3
    assert paid[1] - paid[0] == pytest.approx(tokens * 100.0 / 1e6)
    accounts = accounts_of(ledger_path(folder), price_at(load_task(folder).file, folder))
    in_ledger = sum(account.usd or 0.0 for account in accounts.by_purpose)
    assert in_ledger > tokens * 100.0 / 1e6 and all(None not in account.dollars for account in accounts.by_purpose)


# ---------------------------------------------------------------- what leaves the machine


def test_nothing_is_sent_or_spent_before_someone_says_that_it_may_be(server: TuningServer, make_task: MakeTask) -> None:
    folder = task_at(server, make_task)
    with pytest.raises(InputError, match="nobody has said") as refused:
        run(folder, replace(HOW, may_send=False))
    assert "--yes" in refused.value.hint
    assert not server.seen
    assert not (folder / "runs" / "ledger.sqlite").exists()


def command(*arguments: object, **environment: str) -> Result:
    """A command in this process; our own errors end it with their exit code, as `main` does."""
    done = CliRunner().invoke(app, [str(each) for each in arguments], env=environment)
    if done.exception is not None and not isinstance(done.exception, SystemExit | ShouldTuneError):
        raise done.exception
    return done


def test_run_tells_what_would_be_sent_and_refuses_where_nobody_can_be_asked(
    server: TuningServer, make_task: MakeTask
) -> None:
    rows = [*ROWS[:-1], {"input": "write to anna.berg@example.org what follows", "target": "yes"}]
    folder = make_task(rows, model="scripted:base=0.2", tune=server.tune, prices=priced(server))
    arguments = ("run", folder, "--allow-simulated", "--no-probes", "--rungs", "zero_shot,fine_tune")
    done = command(*arguments)
    assert isinstance(done.exception, InputError)
    assert "--yes" in done.exception.hint
    assert f"To be sent to {server.url.split('/')[2]}, to train {server.tune}" in done.stderr
    assert "rows, about" in done.stderr
    assert "bytes), 3 epochs, about $" in done.stderr
    assert "Price of training: $100 per million tokens" in done.stderr
    assert not server.seen


@pytest.mark.slow
def test_what_was_agreed_to_once_is_not_asked_again(server: TuningServer, make_task: MakeTask) -> None:
    folder = task_at(server, make_task)
    arguments = ("run", folder, "--allow-simulated", "--no-probes", "--rungs", "zero_shot,fine_tune")
    done = command(*arguments, "--yes", SHOULDTUNE_API_KEY=KEY)
    assert done.exit_code == 0, done.output
    assert (len(server.files), len(server.jobs)) == (1, 1)
    assert KEY not in done.stderr + done.stdout
    told = next(line for line in done.stderr.splitlines() if line.startswith("  fine_tune:"))
    assert f"{len(server.contents['file-1']):,} bytes" in told
    assert command(*arguments).exit_code == 0
    assert len(server.jobs) == 1


def test_what_is_told_is_what_is_sent_and_agreement_is_to_that_alone(server: TuningServer, make_task: MakeTask) -> None:
    loaded = load_task(task_at(server, make_task))
    leaving = asyncio.run(what_leaves(loaded, HOW))
    assert leaving is not None
    write_agreed(loaded, leaving)
    assert was_agreed(loaded, leaving)
    fewer = asyncio.run(what_leaves(replace(loaded, task=replace(loaded.task, train=loaded.task.train[:60])), HOW))
    assert fewer is not None
    assert not was_agreed(loaded, fewer)
    run(loaded.folder)
    (sent,) = server.contents.values()
    assert [(each.rung, each.size, each.rows) for each in leaving.uploads] == [
        ("fine_tune", len(sent), sent.count(b"\n"))
    ]


def test_plan_tells_what_would_be_sent_and_what_training_costs(server: TuningServer, make_task: MakeTask) -> None:
    folder = task_at(server, make_task, prices=priced(server), budget=50)
    done = command("plan", folder, "--json", "--rungs", "zero_shot,fine_tune")
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    fine_tune = next(rung for rung in plan["rungs"] if rung["name"] == "fine_tune")
    sent = plan["leaving"]["uploads"][0]
    assert (sent["rung"], sent["epochs"], fine_tune["epochs_most"]) == ("fine_tune", 3, 3)
    assert fine_tune["training_usd"] == pytest.approx(sent["usd"])
    assert fine_tune["usd_most"] > sent["usd_most"] > sent["usd"]
    assert not server.seen
    assert sent["rows"] == 74
