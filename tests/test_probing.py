"""Probes with real calls, on a model whose rows each need one known thing to be answered rightly."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from shouldtune.models.doubles import Flaky
from shouldtune.models.ledger import Ledger
from shouldtune.models.ledgered import Ledgered
from shouldtune.models.plain import Constant
from shouldtune.models.prompted import NearestPassages, NearestShots, Prompted
from shouldtune.probing import NothingFails, Probed, Probing, probe
from shouldtune.probing.changes import Library, readings, take_apart, with_nearest_shots
from shouldtune.retrieval.bm25 import Bm25
from shouldtune.retrieval.chunks import Passage, passages
from shouldtune.retrieval.gold import gold_ids
from shouldtune.rungs.choosing import Groups
from shouldtune.scorers.text import exact
from shouldtune.types import (
    Completion,
    Document,
    Example,
    Goal,
    Message,
    ModelSpec,
    Options,
    Output,
    Score,
    Skipped,
    Task,
)

NEEDS = ("nothing", "lenient", "passage", "shots", "stronger", "skill")


@dataclass(frozen=True)
class Needy:
    """Answers `question NEED 12` with `answer 12`, once it has what the question says it needs."""

    strong: bool = False
    chance: float = 0.0
    """How often a prompt without what is needed is answered all the same; another draw for every prompt."""

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        content = messages[-1].content
        _, need, number = content.splitlines()[-1].split()
        has = {
            "nothing": True,
            "passage": f"fact {number}." in content,
            "shots": sum(message.role == "assistant" for message in messages) >= 8,
            "stronger": self.strong,
        }.get(need, False)
        lucky = hashlib.sha256(repr((messages, options)).encode()).digest()[0] / 256 < self.chance
        text = f"answer {number}" if has or lucky else "no idea"
        text = {"brevity": f"It is answer {number}, I think.", "silence": f"{'well, ' * 40}answer {number}"}.get(
            need, text
        )
        return Completion(f"```\nanswer {number}\n```" if need == "lenient" else text, 10, 3, engine="needy")

    def spec(self) -> ModelSpec:
        return {"kind": "needy", "strong": self.strong, "chance": self.chance}


def task_of(size: int = 160, needs: Sequence[str] = NEEDS) -> Task:
    rows = [(i, needs[i % len(needs)]) for i in range(size)]
    train = tuple(
        Example(f"r{i}", f"question {need} {i}", f"answer {i}", meta={"gold_doc_ids": [f"d{i}"]}) for i, need in rows
    )
    documents = tuple(Document(f"d{i}", f"about {i}", f"This is fact {i}. So say answer {i}.") for i, _ in rows)
    return Task("needs", "Answer.", train, exact, documents, Goal(0.8))


def wrong_passage(task: Task) -> Prompted:
    """A prompt with a retriever that knows a single, useless passage."""
    return Prompted(Needy(), task.instruction, passages=NearestPassages((Passage("x", "useless", "Nothing."),), 1))


def probed(task: Task, fitted: Prompted, how: Probing = Probing(), strong: Needy | None = None) -> Probed:
    found = asyncio.run(probe(task, fitted, how, strong))
    assert isinstance(found, Probed)
    return found


def test_each_failure_is_put_down_to_what_it_needs() -> None:
    task = task_of()
    found = probed(task, wrong_passage(task), strong=Needy(strong=True))
    shares = {each.segment: each.share.estimate for each in found.diagnosis().shares}
    assert shares.pop("noise") == 0.0
    assert list(shares) == ["format", "retrieval", "examples", "capacity", "unexplained"]
    assert all(share == pytest.approx(0.2, abs=0.02) for share in shares.values())


def test_an_answer_that_says_more_than_the_right_one_fails_by_its_form_unless_it_says_everything() -> None:
    task = task_of(160, ("nothing", "brevity", "silence", "skill"))
    shares = {each.segment: each.share.estimate for each in probed(task, wrong_passage(task)).diagnosis().shares}
    assert shares["format"] == pytest.approx(1 / 3, abs=0.02)
    assert shares["unexplained"] == pytest.approx(2 / 3, abs=0.02)


def test_chance_repairs_are_taken_out() -> None:
    task = task_of(480, ("nothing", "skill", "passage"))
    lucky = replace(wrong_passage(task), model=Needy(chance=0.25))
    found = probed(task, lucky, Probing(failures=250, most_calls=4000))
    shares = found.diagnosis()
    assert shares.placebo.low < 0.25 < shares.placebo.high
    raw = next(each for each in shares.shares if each.probe == "shots")
    assert raw.repaired > 0.15 * raw.asked
    for segment, truth in (("retrieval", 0.5), ("examples", 0.0), ("unexplained", 0.5)):
        share = shares.share(segment)  # type: ignore[arg-type]
        assert share is not None
        assert share.low <= truth <= share.high


def test_the_right_passage_is_weighed_on_a_random_sample_and_misses_are_named_with_ranks() -> None:
    task = task_of(176, ("nothing", "passage", "passage", "skill"))
    cut = passages(task.documents)
    mixed = Prompted(Needy(), task.instruction, passages=NearestPassages(cut, 1))
    found = probed(task, replace(mixed, passages=NearestPassages(cut[80:], 1)))
    assert len(found.retrieved) == len(found.right) == 128
    assert sum(score or 0.0 for score in found.right) / 128 == pytest.approx(0.75)
    assert sum(score or 0.0 for score in found.retrieved) / 128 < 0.6
    missed = {miss.example_id: miss for miss in found.misses}
    assert missed["r1"].documents == ("d1",)
    assert missed["r1"].rank is None  # the retriever does not hold it at all
    found = probed(task, replace(mixed, passages=NearestPassages(tuple(reversed(cut)), 1)))
    assert all(miss.rank is None or miss.rank > 1 for miss in found.misses)


def test_an_answer_that_two_models_agree_on_against_the_target_is_noise() -> None:
    task = task_of(140, ("nothing", "skill"))
    mended = tuple(replace(row, target="answer 999") if i % 10 == 0 else row for i, row in enumerate(task.train))
    found = probed(replace(task, train=mended), wrong_passage(task), strong=Needy(strong=True))
    doubted = {tried.example_id for tried in found.failures if tried.passes["label"]}
    assert doubted == {tried.example_id for tried in found.failures if int(tried.example_id[1:]) % 10 == 0}
    assert len(doubted) >= 10


def test_a_row_is_never_shown_as_its_own_shot() -> None:
    rows = task_of(40).train
    grouped = tuple(replace(row, group="g") if row.id in ("r3", "r4") else row for row in rows)
    pairs = tuple((row.input, row.target) for row in grouped)
    asked = take_apart(Prompted(Needy(), nearest=NearestShots(pairs, 4)), grouped[3], Groups(grouped))
    assert asked is not None
    assert len(asked.prompt.shots) == 4
    more = with_nearest_shots(asked, grouped[3], Groups(grouped), Bm25([row.input for row in grouped]))
    assert more is not None
    assert len(more.prompt.shots) == 16
    for shots in (asked.prompt.shots, more.prompt.shots):
        assert not {(grouped[i].input, grouped[i].target) for i in (3, 4)} & set(shots)
    assert (
        take_apart(Prompted(Needy(), shots=pairs[:4]), rows[0], Groups(rows)) is None
    )  # its answer stands in the prompt


def test_all_calls_are_on_the_bill_of_the_probes_and_kept_below_the_cap(tmp_path: Path) -> None:
    task = task_of(400)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        fitted = replace(wrong_passage(task), model=Ledgered(Needy(), ledger))
        found = probed(task, fitted, Probing(most_calls=600))
        assert found.calls <= 600
        assert set(ledger.bills) == {("probes", "probe")}
        assert ledger.spent("probes", "probe").calls == found.calls
        before = ledger.new_calls
        assert probed(task, fitted, Probing(most_calls=600)) == found
        assert ledger.new_calls == before


def test_where_prompts_are_long_fewer_rows_are_changed() -> None:
    task = task_of()
    whole, short = (probed(task, wrong_passage(task), Probing(most_characters=most)) for most in (10**9, 30_000))
    assert len(whole.failures) == 96
    assert 16 <= len(short.failures) < 60
    assert short.asked == whole.asked


@pytest.mark.parametrize(("needs", "most"), [(("skill",), 14), (("nothing", "skill"), 36)])
def test_no_more_rows_are_asked_than_failures_and_a_sample_take(needs: Sequence[str], most: int) -> None:
    task = replace(task_of(160, needs), documents=())
    how = Probing(failures=14, successes=7, random=8, tried_again=0)
    found = probed(task, Prompted(Needy(), task.instruction), how)
    assert len(found.failures) == 14
    assert 14 <= found.asked <= most


def test_failed_calls_are_unknown_outcomes() -> None:
    task = task_of(200)
    fitted = wrong_passage(task)
    found = probed(task, replace(fitted, model=Flaky(Needy(), 0.2)))
    unknown = [passes for tried in found.failures for passes in tried.passes.values() if passes is None]
    assert unknown
    share = found.diagnosis().share("retrieval")
    assert share is not None
    assert share.low < 0.25 < share.high


def test_scores_that_a_change_shows_to_be_graded_pass_from_the_goal_on() -> None:
    """The prompt scores 0 throughout; the right passage brings 0.9, which is more than the goal of 0.8."""

    def generous(completion: Completion, example: Example) -> Score:
        return Score(0.9 if completion.text == example.target else 0.0)

    task = replace(task_of(120, ("passage",)), scorer=generous)
    share = probed(task, wrong_passage(task)).diagnosis().share("retrieval")
    assert share is not None
    assert share.estimate == 1.0


def test_where_nothing_can_be_changed_it_says_so() -> None:
    task = task_of(40, ("nothing",))
    assert asyncio.run(probe(task, wrong_passage(task))) == NothingFails("none of 30 training rows fails", 30)
    assert isinstance(asyncio.run(probe(task, Constant("x"))), Skipped)


# ---------------------------------------------------------------- the right passages, and reading leniently


def test_the_right_passage_is_named_in_meta_or_found_by_its_answer() -> None:
    library = Library.of(task_of(30).documents)
    known = Example("a", "question passage 7", "answer 7", meta={"gold": "d7"})
    assert [passage.document_id for passage in library.right_for(known)] == ["d7"]
    assert [p.document_id for p in library.right_for(replace(known, meta={}))] == ["d7"]
    assert library.right_for(replace(known, meta={}, target="say")) == ()  # it stands everywhere
    assert library.right_for(replace(known, meta={}, target="nowhere")) == ()
    assert gold_ids(replace(known, meta={"evidence": ["x", "y"]})) == ("x", "y")


def test_a_lenient_reader_takes_the_answer_out_of_its_wrapping() -> None:
    labels = Output(labels=("card", "card_lost", "fee"))
    assert "card_lost" in readings("I think that this is about card_lost, madam.", labels)
    assert "fee" not in readings("card_lost or fee?", labels)
    assert "42" in readings("Answer: 42", Output())
    assert '{"a": 1}' in readings('Sure:\n```json\n{"a": 1}\n```', Output(schema={}))
    assert readings("42", Output()) == ()
