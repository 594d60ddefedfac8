"""The rungs that change weights: what each one's training texts show, and when a second kind is tried."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from shouldtune.asked import Climb, chosen_rungs
from shouldtune.ladder import climb
from shouldtune.models.budget import OVER
from shouldtune.models.doubles import Abilities, Scripted
from shouldtune.models.prompted import NearestShots, Prompted
from shouldtune.rungs.choosing import Groups
from shouldtune.rungs.distil import Distil, good_enough
from shouldtune.rungs.fine_tune import FineTune
from shouldtune.rungs.fine_tune_retrieval import FineTuneRetrieval
from shouldtune.rungs.fine_tune_shots import FineTuneShots
from shouldtune.rungs.trained import Trained, settled_at, shown_beside
from shouldtune.scorers.text import exact
from shouldtune.stats import ScoreArray
from shouldtune.task import load_task
from shouldtune.types import (
    Completion,
    Conversation,
    Document,
    Example,
    Fitted,
    Goal,
    Message,
    Model,
    Models,
    Options,
    Prediction,
    Score,
    Skipped,
    Task,
    Trial,
    TuneSettings,
)
from shouldtune.verdict.columns import Column
from shouldtune.verdict.race import trained_enough
from tests.conftest import MakeTask, numbered_rows
from tests.test_ladder import GOAL

TOWNS = ("Aachen", "Bergen", "Cadiz", "Delft", "Evora", "Fulda", "Ghent", "Hobro", "Izola", "Jaca")


@dataclass(frozen=True)
class Pupil(Scripted):
    """A scripted model that keeps what it was taught."""

    taught: list[Sequence[Conversation]] = field(default_factory=list)

    async def tune(self, conversations: Sequence[Conversation], settings: TuneSettings) -> AsyncIterator[Model]:
        self.taught.append(conversations)
        async for tuned in super().tune(conversations, settings):
            yield tuned


def town_task(n: int = 60) -> Task:
    """Questions about parcels, each answered by one document that its `meta` names."""
    rows = tuple(
        Example(
            id=f"e{i}",
            input=f"Where does parcel {i * 131} rest tonight?",
            target=f"depot {TOWNS[i % 10]} {i}",
            meta={"gold_doc_ids": [f"d{i}"]},
        )
        for i in range(n)
    )
    documents = tuple(
        Document(f"d{i}", f"Parcel {i * 131}", f"Parcel {i * 131} rests at depot {TOWNS[i % 10]} {i}.")
        for i in range(n)
    )
    return Task("towns", "Name the depot.", rows, exact, documents, Goal(quality=0.8))


def pupil(task: Task, abilities: str = "base=0.1,tuned=0.9") -> Pupil:
    return Pupil({e.input: e.target for e in task.train}, Abilities.parse(abilities))


def fit(
    rung: FineTune | FineTuneShots | FineTuneRetrieval | Distil, task: Task, **models: Model
) -> tuple[Fitted, Pupil]:
    tune = pupil(task)
    found = asyncio.run(rung.fit(task, Models(tune, tune, **models)))  # type: ignore[arg-type]
    assert isinstance(found, Fitted)
    return found, tune


def test_a_fine_tune_learns_from_the_input_alone() -> None:
    task = town_task()
    fitted, taught = fit(FineTune(), task)
    assert [c.messages[-1].content for c in taught.taught[0]] == [e.input for e in task.halves()[0]]
    assert {len(c.messages) for c in taught.taught[0]} == {1}
    assert isinstance(fitted.model, Prompted)
    assert fitted.model.passages is None


def test_a_text_with_shots_never_shows_its_own_answer() -> None:
    task = town_task()
    fitted, taught = fit(FineTuneShots(shown=3), task)
    pool = task.halves()[0]
    for example, text in zip(pool, taught.taught[0], strict=True):
        shown = [m.content for m in text.messages if m.role == "assistant"]
        assert len(shown) == 3
        assert example.target not in shown
        assert text.messages[-1].content == example.input
        assert text.answer == example.target
    assert isinstance(fitted.model, Prompted)
    assert fitted.model.nearest is not None
    assert len(fitted.model.nearest.shots) == len(task.train)


def test_shots_of_the_same_group_are_not_shown_either() -> None:
    rows = [Example(f"r{i}", f"order {i // 2} of the red lamp", f"t{i}", group=f"g{i // 2}") for i in range(20)]
    nearest = NearestShots(tuple((e.input, e.target) for e in rows), 2)
    for example in rows:
        shown = shown_beside(example, Groups(rows), nearest)
        assert len(shown) == 2
        assert not {target for _, target in shown} & {e.target for e in rows if e.group == example.group}


def test_training_with_passages_shows_the_right_one_in_most_texts_and_wrong_ones_in_all() -> None:
    task = town_task(200)
    fitted, taught = fit(FineTuneRetrieval(shown=3, with_right=0.8), task)
    texts = taught.taught[0]
    held = [example.target in text.messages[-1].content for example, text in zip(task.halves()[0], texts, strict=True)]
    assert 0.7 < sum(held) / len(held) < 0.9
    for text in texts:
        asked = text.messages[-1].content
        assert asked.count("rests at depot") == 3
        assert text.messages[0].content == "Name the depot."
    assert isinstance(fitted.model, Prompted)
    assert fitted.model.passages is not None
    assert fitted.model.passages.k == 3


def test_the_texts_with_passages_are_the_same_in_every_run() -> None:
    task = town_task()
    first, again = (fit(FineTuneRetrieval(), task)[1].taught[0] for _ in range(2))
    assert first == again


def test_a_model_tuned_without_passages_is_tried_with_them_and_that_is_told() -> None:
    task = town_task()
    tune = pupil(task)
    bare = asyncio.run(FineTune().fit(task, Models(tune, tune)))
    assert isinstance(bare, Fitted)
    models = Models(tune, tune, trained={"fine_tune": bare.model})
    fitted = asyncio.run(FineTuneRetrieval().fit(task, models))
    assert isinstance(fitted, Fitted)
    assert any("never learnt to read" in note for note in fitted.notes)
    assert len(fitted.trials) == len([t for t in fitted.trials if "epoch" in t.setting])


def test_without_documents_or_a_strong_model_the_rungs_that_need_them_are_skipped() -> None:
    task = replace(town_task(), documents=())
    tune = pupil(task)
    models = Models(tune, tune)
    assert isinstance(asyncio.run(FineTuneRetrieval().fit(task, models)), Skipped)
    assert isinstance(asyncio.run(Distil().fit(task, models)), Skipped)


def test_distilling_learns_from_the_strong_models_right_answers_alone() -> None:
    task = town_task(200)
    strong = Scripted({e.input: e.target for e in task.train}, Abilities(base=0.5))
    fitted, taught = fit(Distil(), task, strong=strong)
    texts = taught.taught[0]
    targets = {e.input: e.target for e in task.train}
    assert 0.3 < len(texts) / len(task.halves()[0]) < 0.7
    assert all(text.answer == targets[text.messages[-1].content] for text in texts)
    assert any(f"{len(texts)} of the strong model's" in note for note in fitted.notes)


def test_a_strong_model_that_knows_too_little_teaches_nothing() -> None:
    task = town_task()
    tune = pupil(task)
    found = asyncio.run(Distil().fit(task, Models(tune, tune, strong=pupil(task, "base=0.05"))))
    assert isinstance(found, Skipped)
    assert "answers of the strong model score 1" in found.because


def test_graded_answers_are_learnt_from_where_they_reach_the_goal() -> None:
    task = town_task()
    assert good_enough(task, [0, 1, 1]) == 1
    assert good_enough(task, [0.2, 0.9]) == 0.8
    assert good_enough(replace(task, goal=Goal()), [0.2, 0.9]) == 0.5


def test_a_second_kind_is_tried_only_where_the_first_was_not_enough_on_the_training_half() -> None:
    def column(name: str, trial: float | None, *, training: bool = False) -> Column:
        return Column(name, training, True, ScoreArray.of([]), trial=trial)

    goal, shots = Goal(quality=0.8, worthwhile_gain=0.05), column("few_shot", 0.5)
    assert trained_enough(goal, [shots]) is None
    assert trained_enough(goal, [shots, column("fine_tune", 0.54, training=True)]) is None
    assert "better than" in str(trained_enough(goal, [shots, column("fine_tune", 0.56, training=True)]))
    assert "reaches the goal" in str(trained_enough(goal, [column("a", 0.9), column("b", 0.85, training=True)]))
    assert trained_enough(goal, [shots, column("fine_tune", None, training=True)]) is None


def test_a_climb_tries_the_dearer_kinds_where_the_plain_one_gains_nothing(make_task: MakeTask) -> None:
    how = Climb(rungs=chosen_rungs(["few_shot", "fine_tune", "fine_tune_shots"]), allow_simulated=True)

    def lines(abilities: str) -> dict[str, str | None]:
        model = f"scripted:{abilities}"
        folder = make_task(numbered_rows(300), model=model, tune=model, goal=GOAL)
        verdict = asyncio.run(climb(load_task(folder), how)).verdict
        return {rung.name: rung.skipped_because for rung in verdict.rungs}

    assert lines("base=0.3,tuned=0.3")["fine_tune_shots"] is None
    assert "on the training half" in str(lines("base=0.2,tuned=0.9")["fine_tune_shots"])


def test_a_text_that_lacks_the_right_passage_shows_no_other_that_is_right() -> None:
    task = town_task(200)
    twice = tuple(replace(d, id=f"{d.id}-again") for d in task.documents)
    rows = tuple(replace(e, meta={"gold_doc_ids": [f"d{i}", f"d{i}-again"]}) for i, e in enumerate(task.train))
    doubled = replace(task, train=rows, documents=(*task.documents, *twice))
    texts = fit(FineTuneRetrieval(shown=3, with_right=0.8), doubled)[1].taught[0]
    held = [
        example.target in text.messages[-1].content for example, text in zip(doubled.halves()[0], texts, strict=True)
    ]
    assert 0.7 < sum(held) / len(held) < 0.9


def test_nothing_is_distilled_from_half_of_the_answers_where_the_budget_ended() -> None:
    @dataclass(frozen=True)
    class Ending(Scripted):
        asked: list[int] = field(default_factory=list)

        async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
            self.asked.append(1)
            if len(self.asked) > 60:
                return Completion("", finish_reason="error", error=OVER, failure="not_asked")
            return await super().complete(messages, options)

    task = town_task(200)
    tune = pupil(task)
    strong = Ending({e.input: e.target for e in task.train}, Abilities(base=1.0))
    found = asyncio.run(Distil().fit(task, Models(tune, tune, strong=strong)))
    assert isinstance(found, Skipped)
    assert tune.taught == []


def test_long_texts_are_read_fewer_times() -> None:
    def texts(n: int, characters: int) -> list[Conversation]:
        return [Conversation((Message("user", "x" * characters),), "y")] * n

    how = FineTune()
    assert how.epochs_for(texts(340, 200)) == 3
    assert how.epochs_for(texts(150, 200)) == 6
    assert how.epochs_for(texts(150, 3_000)) == 3
    assert how.epochs_for(texts(400, 8_000)) == 2


def test_the_last_epoch_ships_unless_an_earlier_one_was_clearly_better() -> None:
    def epoch(right: int) -> list[Prediction]:
        return [Prediction(f"e{i}", Completion("a"), Score(float(i < right))) for i in range(32)]

    assert settled_at([epoch(18), epoch(15), epoch(16)]) == 2
    assert settled_at([epoch(18), epoch(16), epoch(4)]) == 1
    assert settled_at([epoch(20), epoch(6), epoch(4)]) == 0
    assert settled_at([epoch(0), epoch(0)]) == 1
    assert settled_at([epoch(9)]) == 0


def test_epochs_without_an_answer_are_not_epochs_that_got_nothing_right() -> None:
    def trials(*scores: float | None) -> list[Trial]:
        return [Trial("epoch", score, 0 if score is None else 9) for score in scores]

    assert not Trained()._is_stuck(trials(0.4, None, None))
    assert Trained()._is_stuck(trials(None, 0.0, 0.0, 0.0))


@dataclass(frozen=True)
class Late(Pupil):
    """Learns nothing at the first setting's rate."""

    async def tune(self, conversations: Sequence[Conversation], settings: TuneSettings) -> AsyncIterator[Model]:
        able = self if settings.learning_rate < 1e-3 else replace(self, abilities=Abilities.parse("base=0,tuned=0"))
        async for tuned in Pupil.tune(able, conversations, settings):
            yield tuned


def test_the_next_setting_is_tried_where_every_epoch_got_nothing_right() -> None:
    task = town_task(400)
    able = pupil(task)
    late = Late(able.answers, able.abilities)
    found = asyncio.run(FineTune(readings=700).fit(task, Models(late, late)))
    assert isinstance(found, Fitted)
    assert [trial.score == 0.0 for trial in found.trials] == [True, True, False, False]
    assert found.trials[0].setting == "rate 0.002, the input alone, epoch 1"
    assert found.notes == ("rate 0.0006, with the instruction, epoch 2",)
