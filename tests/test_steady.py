"""A split that is kept although rows have come, gone or changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shouldtune.task import LoadedTask, load_task
from shouldtune.task.contents import Earlier, contents_of
from shouldtune.task.split import near_duplicates
from tests.conftest import MakeTask, Rows

PAIRS = 30


def text(pair: int, *own: str) -> str:
    """Eight words of a pair's, and its own: texts with two others are not alike, one with one of each is like both."""
    return " ".join([*(f"p{pair}w{place}" for place in range(8)), *(f"p{pair}{word}" for word in own)])


def pairs() -> Rows:
    both = (("left", ("a", "b")), ("right", ("c", "d")))
    rows = [(f"{side}-{pair}", text(pair, *own)) for pair in range(PAIRS) for side, own in both]
    return [{"id": name, "input": asked, "target": f"answer {name}"} for name, asked in rows]


@pytest.fixture
def task(make_task: MakeTask) -> Path:
    return make_task(pairs())


def ids(loaded: LoadedTask) -> tuple[list[str], list[str]]:
    return [e.id for e in loaded.task.train], [e.id for e in loaded.holdout]


def apart(loaded: LoadedTask) -> tuple[int, str, str]:
    """(pair, the one that is learnt from, the one that is held out) of a pair that a split has put apart."""
    train, held = map(set, ids(loaded))
    for pair in range(PAIRS):
        for one, other in ((f"left-{pair}", f"right-{pair}"), (f"right-{pair}", f"left-{pair}")):
            if one in train and other in held:
                return pair, one, other
    raise AssertionError("no pair stands apart")


def test_a_new_row_that_links_the_halves_is_left_out_and_counted(make_task: MakeTask, task: Path) -> None:
    before = load_task(task)
    pair, learnt, held = apart(before)
    new = text(pair, "a", "c")
    inputs = {e.id: e.input for e in (*before.task.train, *before.holdout)}
    assert near_duplicates([inputs[learnt], inputs[held]]) == []
    assert near_duplicates([inputs[learnt], inputs[held], new]) == [(0, 2), (1, 2)]
    make_task([*pairs(), {"id": "link", "input": new, "target": "both"}])
    again = load_task(task, earlier=Earlier(contents_of(before)))
    assert ids(again) == ids(before)  # whoever was there stays, in its place
    assert "1 rows left out: they are nearly rows of the other half" in again.notes


def test_a_new_row_that_is_like_one_row_stands_with_it(make_task: MakeTask, task: Path) -> None:
    before = load_task(task)
    _, learnt, held = apart(before)
    inputs = {e.id: e.input for e in (*before.task.train, *before.holdout)}
    twins = [{"id": f"twin of {name}", "input": f"{inputs[name]} too", "target": "t"} for name in (learnt, held)]
    make_task([*pairs(), *twins])
    again = load_task(task, earlier=Earlier(contents_of(before)))
    train, holdout = ids(again)
    assert train.index(f"twin of {learnt}") == train.index(learnt) + 1
    assert holdout.index(f"twin of {held}") == holdout.index(held) + 1
    assert not any("left out" in note for note in again.notes)


def test_a_changed_row_that_is_like_one_of_the_other_half_moves_nobody_else(make_task: MakeTask, task: Path) -> None:
    before = load_task(task)
    pair, learnt, held = apart(before)
    rows = [{**row, "input": text(pair, "a", "c")} if row["id"] == learnt else row for row in pairs()]
    make_task(rows)
    again = load_task(task, earlier=Earlier(contents_of(before)))
    train, holdout = ids(again)
    assert learnt not in train
    assert [name for name in holdout if name != learnt] == ids(before)[1]
    assert abs(holdout.index(learnt) - holdout.index(held)) == 1


def test_rows_that_the_user_moves_into_the_holdout_come_at_drawn_places(make_task: MakeTask, task: Path) -> None:
    def halves(rows: Rows, moved: set[str]) -> LoadedTask:
        for half, wanted in (("train", False), ("holdout", True)):
            lines = [json.dumps(row) for row in rows if (row["id"].startswith("right") or row["id"] in moved) is wanted]
            (task / f"{half}.jsonl").write_text("\n".join(lines))
        file = {"name": "toy", "instruction": "Answer.", "train": "train.jsonl", "holdout": "holdout.jsonl"}
        (task / "shouldtune.yaml").write_text(json.dumps(file))
        return load_task(task, earlier=None if not moved else Earlier(contents))

    contents = contents_of(before := halves(pairs(), set()))
    moved = {f"left-{pair}" for pair in range(8)}
    train, holdout = ids(halves(pairs(), moved))
    assert [name for name in holdout if name not in moved] == ids(before)[1]
    assert train == [name for name in ids(before)[0] if name not in moved]
    assert moved - {*holdout[-8:]}  # not all at its end, which would be no random order
