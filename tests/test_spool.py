"""Rows on disk: what comes back is what was put in, little stays in memory, and nothing stays on disk."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import textwrap
import tracemalloc
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from shouldtune.spool import Answers, AnswersTo, ExampleSpool, Table, distinct, figure, keys_of, together
from shouldtune.spool import files as spool_files
from shouldtune.types import Completion, Example, Prediction, Score

ODD: list[dict[str, Any]] = [
    {"nothing": None, "big": 2**200, "minus": -(2**70), "true": True, "one": 1, "float": 1.0, "small": 5e-324},
    {"lone \ud83d": "half \ude00", "nested": {"list": [1, [2.5, None, {"é": "\U0001f600"}]], "empty": {}}},
    {"two halves": "\ud83d" + "\ude00", "nul": "\x00", "lines": "\r\n\u2028", "tuple": (1, ("a",))},
    {"when": date(2026, 11, 26), "number": np.float64(0.5), "array": np.arange(3)},
    {},
]


def odd_examples() -> list[Example]:
    return [
        Example(f"r{i} \udfff", f"in {i} \U0001f600", "out", ("a", "b")[: i % 3], (None, "", "g")[i % 3], meta)
        for i, meta in enumerate(ODD)
    ]


def prediction(i: int) -> Prediction:
    return Prediction(f"row-{i}", Completion(f"answer {i}", i, 2, latency_s=i / 7, engine="x"), Score(float(i % 2)))


def test_examples_come_back_as_they_were() -> None:
    for had, got in zip(odd_examples(), ExampleSpool(odd_examples()).rows(), strict=True):
        assert repr(got) == repr(had)  # the types of values too: 1 is neither 1.0 nor True
        assert list(map(type, got.meta.values())) == list(map(type, had.meta.values()))


def test_answers_come_back_as_they_were() -> None:
    failed = Completion("", finish_reason="error", error="lost \ud83d", failure="unknown", lost=2)
    full = Completion("x", 1, 2, 3, 0.25, 1e-9, 0.0, passages=("p",), cited=("c",), choice_logprobs=(-0.5,))
    given = [
        Prediction("a", failed, None),
        Prediction("b", full, Score(0.1 + 0.2, "why", {"f1": 1 / 3})),
    ]
    assert repr(list(Answers.of(given))) == repr(given)


def test_a_scorers_numbers_come_back_as_plain_floats_and_are_not_held() -> None:
    given = Prediction("c", Completion("y"), Score(np.float64(1), metrics={"n": np.float64(0.5)}))
    answers = Answers.of([given])
    assert list(answers) == [given]
    assert repr(answers[0].score) == repr(Score(1.0, metrics={"n": 0.5}))
    assert not answers._spool._aside


@pytest.mark.parametrize("score", [math.nan, -0.1, 1.5])
def test_an_answer_with_a_score_that_is_none_is_refused_and_leaves_the_others_as_they_are(score: float) -> None:
    answers = Answers()
    answers.add(prediction(1))
    with pytest.raises(ValueError, match="from 0 to 1"):
        answers.add(Prediction("b", Completion("x"), Score(score)))
    answers.add(prediction(2))
    assert list(answers.all_added()) == [prediction(1), prediction(2)]
    assert figure(answers.all_added(), "score").tolist() == [1.0, 0.0]
    assert figure(answers.all_added()[::-1], "score").tolist() == [0.0, 1.0]


def test_a_slice_a_place_and_another_order_are_of_the_same_rows() -> None:
    given = [prediction(i) for i in range(5_000)]  # more than waits in memory, so that both places are read
    answers = Answers.of(given)
    assert answers == given
    assert answers[-1] == given[-1]
    assert answers[4_990:] == given[4_990:]
    assert answers[10:100:7][3] == given[31]
    order = np.random.default_rng(1).permutation(5_000)
    assert list(answers.at(order)) == [given[int(i)] for i in order]
    assert figure(answers.at(order)[:9], "prompt_tokens").tolist() == order[:9].tolist()
    with pytest.raises(IndexError):
        answers[5_000]


def test_two_sequences_together_are_as_one() -> None:
    a, b = list(range(5)), list(range(5, 12))
    both = together(a, b)
    assert list(both) == list(range(12)) and len(both) == 12
    assert [both[i] for i in (-12, -1, 4, 5)] == [0, 11, 4, 5]
    cuts = ((0, 3), (3, 8), (6, 99), (-2, 12))
    assert [list(both[i:j]) for i, j in cuts] == [list(range(12))[i:j] for i, j in cuts]


def test_figures_are_those_of_the_answers_whether_they_are_on_disk_or_not() -> None:
    given = [*map(prediction, range(40)), Prediction("lost", Completion("", error="gone", finish_reason="error"), None)]
    answers = Answers.of(given)
    for name in ("score", "prompt_tokens", "cached_tokens", "latency_s", "cost_usd"):
        np.testing.assert_array_equal(figure(answers, name), figure(given, name))
    assert math.isnan(figure(answers, "score")[-1]) and figure(given, "prompt_tokens")[7] == 7
    np.testing.assert_array_equal(keys_of(answers), keys_of(given))


def test_more_answers_leave_those_before_as_they_are() -> None:
    answers = Answers()
    places = [answers.add(prediction(i)) for i in range(3)]
    first = answers.and_at(np.array(places))
    more = first.and_at(np.array([answers.add(prediction(3))]))
    assert first == [prediction(i) for i in range(3)]
    assert more == [prediction(i) for i in range(4)]


def test_answers_are_found_by_the_places_of_their_examples() -> None:
    examples = [Example(f"row-{i}", "in", "out") for i in range(20)]
    order = Random(2).sample(range(20), 15)
    given = AnswersTo(examples, [prediction(i) for i in order])
    assert [given.at(i) for i in range(20)] == [prediction(i) if i in order else None for i in range(20)]
    assert AnswersTo(examples, []).at(3) is None


def test_a_table_keeps_whole_numbers_of_64_bits() -> None:
    table = Table(("key",), ("value",))
    rows = [(-(2**63), 0.1), (2**63 - 1, math.inf), (0, -0.0)] * 50_000
    for row in rows:
        table.add(*row)
    assert table.column("key").tolist() == [key for key, _ in rows]
    assert table.column("value").tolist() == [value for _, value in rows]


@pytest.mark.parametrize("value", [2**63, "12", None, 0.5])
def test_what_is_no_number_for_a_table_is_refused(value: Any) -> None:
    table = Table(("n",), ("x",))
    with pytest.raises(ValueError, match="no numbers for a table"):
        table.add(value, 0.0)
    assert len(table) == 0


def test_a_row_takes_a_few_bytes_of_memory() -> None:
    def held(n: int) -> int:
        tracemalloc.start()
        kept = ExampleSpool(Example(f"r{i}", f"{i} " * 40, "out", meta={"i": i}) for i in range(n)).rows()
        given = Answers.of(prediction(i) for i in range(n))
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(kept) == len(given) == n
        return size

    assert (held(24_000) - held(12_000)) / 12_000 < 40


def test_no_file_is_left_when_a_process_fails_or_is_killed(tmp_path: Path) -> None:
    script = """
        import os, signal
        from shouldtune.spool import ExampleSpool
        from shouldtune.types import Example
        rows = ExampleSpool(Example(f"r{i}", "x" * 1000, "y") for i in range(2_000)).rows()
        assert rows[1_999].input == "x" * 1000 and rows[0].id == "r0"
        os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    ended = subprocess.run(command, env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, check=False)
    assert ended.returncode == -9, ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted there")
def test_files_are_let_go_with_their_rows() -> None:
    def opened() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    before = opened()
    rows = ExampleSpool(Example(f"r{i}", "x" * spool_files.HELD, "y") for i in range(3)).rows()
    assert opened() == before + 1
    part = rows[1:]
    del rows
    assert part[0].id == "r1"
    del part
    assert opened() == before


@pytest.mark.parametrize("values", [[], [3], [5, 3, 3, 9, 5, 5, -1]])
def test_the_different_values_are_those_of_numpy(values: list[int]) -> None:
    column = np.array(values, dtype=np.int64)
    assert distinct(column).tolist() == np.unique(column).tolist()
    assert column.tolist() == values
