"""The gate says what so many examples can say: passed, failed, or not shown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from shouldtune.exporting import Exported
from shouldtune.exporting.asking import Chat, Request, sent
from shouldtune.exporting.card import WARNINGS, mark
from shouldtune.exporting.parity import Difference, Parity, Rendered, score_again
from shouldtune.exporting.source import Source, open_source
from shouldtune.report.exports import OUTCOMES, exported_to_json, exported_to_text
from shouldtune.types import Completion, Score
from tests.exporting_world import PACKAGES, code_rows, small_run, tiny_run
from tests.faulty_server import FaultyServer
from tests.test_cli import shouldtune
from tests.test_exporting_remote import named


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    """A run of 90 held-out examples, every answer right."""
    with FaultyServer(named).running() as server:
        folder = tmp_path_factory.mktemp("parity") / "task"
        record = small_run(folder, server.model_id, "few_shot", code_rows(300), tune=None)
    yield open_source(record.folder, "few_shot")


@dataclass(frozen=True)
class Answering:
    """An export that makes the run's own requests, and answers as the run did but for some."""

    source: Source
    instead: dict[int, Completion]
    """By the example's place."""
    through: str = "a test"

    def chats(self, inputs: Sequence[str]) -> list[Chat]:
        return [sent(self.source, text, self.source.pairs()[0][1])[0] for text in inputs]

    def request(self) -> Request:
        return sent(self.source, "", self.source.pairs()[0][1])[1]

    def rendered(self, chats: Sequence[Chat]) -> list[Rendered] | None:
        return None

    async def answers(self, chats: Sequence[Chat]) -> list[Completion]:
        own = [prediction.completion for _, prediction in self.source.pairs(len(chats))]
        return [self.instead.get(place, completion) for place, completion in enumerate(own)]


def gate(source: Source, wrong: int = 0, sample: int | None = None, failed: int = 0) -> Parity:
    """The first `wrong` answers are other words, and the next `failed` calls fail."""
    instead = {place: Completion("other") for place in range(wrong)}
    instead |= {wrong + place: Completion("", finish_reason="error", error="no") for place in range(failed)}
    return asyncio.run(score_again(source, Answering(source, instead), sample))


@pytest.mark.parametrize(
    ("wrong", "sample", "outcome"),
    [
        (0, None, "passed"),
        (0, 3, "passed"),  # every answer the run's own
        (3, None, "passed"),  # of 90: -0.033 (-0.093 to +0.009)
        (4, None, "failed"),
        (1, 36, "not_shown"),
        (1, 4, "not_shown"),  # fewer than five pairs show nothing
        (3, 5, "not_shown"),  # -0.6 (-0.88 to +0.10): six answers of ten may be lost
        (1, 20, "not_shown"),
        (10, None, "failed"),
        (5, 5, "failed"),
    ],
)
def test_it_passes_only_where_a_loss_of_a_tenth_is_ruled_out(
    source: Source, wrong: int, sample: int | None, outcome: str
) -> None:
    parity = gate(source, wrong, sample)
    assert parity.outcome == outcome, parity.because
    if outcome == "not_shown":
        hint = "ask more of the run's examples" if sample else "it takes more held-out examples"
        assert f"does not rule out a loss of 0.1: {hint}" in parity.because[1]


def test_a_failed_call_fails_and_is_in_neither_mean(source: Source) -> None:
    parity = gate(source, failed=2)
    assert (parity.outcome, parity.n, parity.scored) == ("failed", 90, 88)
    assert (parity.run_score, parity.export_score) == (1.0, 1.0)
    assert "2 of 90 calls failed" in parity.because[0]
    assert "n 88" in exported_to_text(Exported(Path("out"), "prompt", "few_shot", parity))


def test_an_export_that_scores_better_is_another_model_too(source: Source) -> None:
    pairs = source.pairs()
    bad = [replace(p, completion=Completion("bad"), score=Score(0.0)) for _, p in pairs]
    measured = replace(source.measurement, predictions=tuple(bad))
    worse = replace(source, record=replace(source.record, measurements=(measured,)))
    right = {place: p.completion for place, (_, p) in enumerate(pairs)}
    parity = asyncio.run(score_again(worse, Answering(worse, right)))
    assert parity.outcome == "failed"
    assert "better than what was measured" in parity.because[0]


# ---------------------------------------------------------------- what is told, and how the command ends


@pytest.fixture(scope="module")
def claimed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run whose record says that every answer was right, which its model does not answer again."""
    for name in PACKAGES:
        pytest.importorskip(name)
    with tiny_run(tmp_path_factory.mktemp("claimed"), "few_shot") as record:
        path, targets = record.folder / "predictions.jsonl", {row.id: row.target for row in record.holdout}
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for row in rows:
            row["completion"]["text"] = targets[row["example_id"]]
            row["score"]["value"] = 1.0
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        yield record.folder


@pytest.mark.parametrize(
    ("sample", "code", "outcome", "mark"),
    [
        (36, 100, "failed", "PARITY_FAILED.txt"),
        (4, 101, "not_shown", "PARITY_NOT_SHOWN.txt"),
    ],
)
def test_an_export_that_does_not_pass_is_marked_and_ends_with_a_code_of_its_own(
    claimed: Path, tmp_path: Path, sample: int, code: int, outcome: str, mark: str
) -> None:
    out = tmp_path / "out"
    done = shouldtune("export", claimed, "--to", "prompt", "--rung", "few_shot", "--out", out, "--sample", sample)
    assert done.returncode == code, done.stderr
    assert f"parity: {OUTCOMES[outcome]}; " in done.stdout
    card = (out / "README.md").read_text(encoding="utf-8")
    assert f"> **{WARNINGS[outcome]}**" in card
    assert f"**{OUTCOMES[outcome]}**, through" in card
    assert "the scores differ by" in (out / mark).read_text(encoding="utf-8")
    assert json.loads((out / "export.json").read_text(encoding="utf-8"))["parity"]["outcome"] == outcome


def test_an_export_that_passes_ends_with_0_and_tells_so_as_json(source: Source, tmp_path: Path) -> None:
    done = shouldtune(
        "export", source.record.folder, "--to", "prompt", "--rung", "few_shot", "--json", "--out", tmp_path / "o"
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["form"], told["rung"], told["parity"]["outcome"]) == ("prompt", "few_shot", "passed")
    assert [path.name for path in (tmp_path / "o").glob("PARITY*")] == []


def test_a_prompt_that_differs_is_shown_wherever_one_looks() -> None:
    difference = Difference("e7", "the chat template", "user\nName", "user Name")
    parity = Parity(
        "failed", ("36 of 36 prompts are not the run's",), "a test", 36, 36, 36, 0.5, 0.5, None, 36, 36, difference
    )
    text = exported_to_text(Exported(Path("out"), "peft", "fine_tune", parity))
    assert "parity: FAILED; 0.500 exported, 0.500 in the run, n 36" in text
    assert "  run:    'user\\nName'\n  export: 'user Name'\n" in text
    assert mark(parity).endswith("(the chat template):\nrun:    'user\\nName'\nexport: 'user Name'\n")
    told = json.loads(exported_to_json(Exported(Path("out"), "peft", "fine_tune", parity)))
    assert told["parity"]["difference"]["what"] == "the chat template"
