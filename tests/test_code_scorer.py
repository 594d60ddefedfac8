"""Code against its unit tests: what passes, what does not, and what tries to look as if it passed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from shouldtune.errors import InputError
from shouldtune.scorers import grade
from shouldtune.scorers.answer_code import code_of, names_needed
from shouldtune.scorers.asserts import decoded, steps_of
from shouldtune.scorers.code import Code, code
from shouldtune.scorers.sandbox import Limits
from shouldtune.types import Completion, Example, Score
from tests.test_sandbox import needs_sandbox

DOUBLE = ["assert double(2) == 4", "assert double(-3) == -6", "assert double('ab') == 'abab'"]
RIGHT = "def double(x):\n    return x + x"


def example(tests: list[str], setup: str = "", **meta: Any) -> Example:
    return Example("e", "q", "t", meta={"test_list": tests, "test_setup_code": setup, **meta})


def scored(answer: str, tests: list[str] = DOUBLE, setup: str = "", scorer: Code | None = None) -> Score:
    scorer = scorer or Code(Limits(cpu_s=2, wall_s=30))
    return asyncio.run(grade(scorer, Completion(answer), example(tests, setup)))


# ---------------------------------------------------------------- finding the code


@pytest.mark.parametrize(
    "answer",
    [
        RIGHT,
        f"\r\n{RIGHT}\r\n".replace("\n", "\r\n"),
        f"```python\n{RIGHT}\n```",
        f"Sure! Here it is:\n\n```py\n{RIGHT}\n```\nIt adds x to itself.",
        f"First install it:\n```bash\npip install it\n```\nthen\n```python\n{RIGHT}\n```",
        f"```\nimport math\n```\nand\n```\n{RIGHT}\n```",
        f"```python\n{RIGHT}",
        f"Here is the function:\n\n{RIGHT}\n\nThis function adds x to itself.",
        f"Here is the function:\n\n{RIGHT}\n\ndef unfinished(",
        "    def double(x):\n        return x + x",
    ],
)
def test_code_is_found_in_answers_of_every_form(answer: str) -> None:
    found = code_of(answer, ("double",))
    assert found is not None
    space: dict[str, Any] = {}
    exec(found, space)  # noqa: S102  the code above
    assert space["double"](4) == 8


@pytest.mark.parametrize("answer", ["def f(:", "I do not know, sorry.", "((((", "x" * 60_000, "\x00", "```"])
def test_an_answer_without_python_has_no_code(answer: str) -> None:
    assert code_of(answer) is None


def test_the_names_that_an_answer_must_bring_are_those_that_tests_use() -> None:
    tests = ["assert sorted(f(Pair(1, 2))) == [g(x) for x in (1, 2)]", "import math\nassert math.isclose(f(1), 2)"]
    assert names_needed("def g(x): return x", tests) == ("f", "Pair")


# ---------------------------------------------------------------- taking tests apart


@pytest.mark.parametrize(
    ("test", "asked", "right", "wrong"),
    [
        ("assert f(1) == 2", "f(1)", 2, 3),
        ("assert 2 == f(1), 'said'", "f(1)", 2.0, None),
        ("assert f(1) != 2", "f(1)", 3, 2),
        ("assert not f(1) == 2", "f(1)", 3, 2),
        ("assert f(1) is None", "f(1)", None, 0),
        ("assert f(1) in [1, 2]", "f(1)", 2, 3),
        ("assert 'a' in f(1)", "f(1)", "bab", "b"),
        ("assert f(1) < 2", "f(1)", 1, 2),
        ("assert abs(f(1) - 3.14) < 0.01", "f(1)", 3.141, 3.2),
        ("assert abs(3.14 - f(1)) <= 1e-2", "f(1)", 3.141, -3.14),
        ("assert 0.01 > abs(f(1) - -2)", "f(1)", -2, 2),
        ("assert not abs(f(1) - 3) > 0.5", "f(1)", 3, 4),
        ("assert abs(f(1)) < 2", "abs(f(1))", 1, 2),
        ("assert f(1)", "f(1)", [0], []),
        ("assert not f(1)", "f(1)", "", "a"),
    ],
)
def test_a_test_is_asked_without_its_right_value(test: str, asked: str, right: Any, wrong: Any) -> None:
    (step,) = steps_of(test)
    assert (step.source, step.passes(right), step.passes(wrong)) == (asked, True, False)
    assert step.seen_from_outside == (test not in ("assert f(1)", "assert not f(1)"))


# ---------------------------------------------------------------- scores


@needs_sandbox
def test_right_code_scores_one_and_wrong_code_its_share_of_tests() -> None:
    assert scored(RIGHT) == Score(1.0, "", {"passed": 1.0, "syntax_error": 0.0, "timeout": 0.0, "crashed": 0.0})
    wrong = scored("def double(x):\n    return x * 2 if x != 2 else 5")
    assert (wrong.value, wrong.metrics["passed"], wrong.reason) == (0.0, 2 / 3, "2 of 3 tests")
    assert scored("def double(x):\n    return x ** 2").value == 0.0


@needs_sandbox
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("def double(x)\n    return x", "syntax_error"),
        ("def double(x):\n    return x\nreturn 3", "syntax_error"),
        ("def double(x):\n    while True: pass", "timeout"),
        ("import os\ndef double(x): os.abort()", "crashed"),
        ("double = 3", None),
        ("def double(x): raise ValueError(x)", None),
        ("", None),
    ],
)
def test_how_an_answer_failed_is_told_apart(answer: str, kind: str | None) -> None:
    score = scored(answer)
    assert score.value == 0.0
    assert {name for name in ("syntax_error", "timeout", "crashed") if score.metrics[name]} == ({kind} - {None})


@needs_sandbox
@pytest.mark.parametrize(
    ("made", "tests"),
    [
        (
            "[1, (2, {'a': {3.5}}), b'x', None, True, 1j]",
            ["assert f() == [1, (2, {'a': {3.5}}), b'x', None, True, 1j]"],
        ),
        ("10 ** 5000", ["assert f() > 10", "assert f() % 7 == 5 or f() > 1"]),
        ("float('inf')", ["assert f() > 1e308"]),
        ("__import__('collections').Counter('aab')", ["assert f() == {'a': 2, 'b': 1}"]),
        ("__import__('decimal').Decimal('0.5')", ["assert f() == 0.5"]),
        ("__import__('decimal').Decimal('-Infinity')", ["assert f() < 0"]),
        ("__import__('fractions').Fraction(-3, 4)", ["assert f() == -0.75"]),
        ("{'a': 1}.keys()", ["assert f() == {'a'}"]),
        ("'\\ud800é\\n'", ["assert f() == '\\ud800é\\n'"]),
    ],
)
def test_values_of_every_plain_kind_come_back_as_they_were(made: str, tests: list[str]) -> None:
    assert scored(f"def f():\n    return {made}", tests).value == 1.0


LONG_OUTSIDE = (
    '["Fraction","1e3000000"]',
    '["Fraction","1/0"]',
    json.dumps(["Fraction", "f" * 100_000 + "/3"]),
    '["Decimal","1e900000"]',
    json.dumps(["float", "1" * 100_000]),
    json.dumps(["set", [["int", f"{number * (2**61 - 1):x}"] for number in range(20_000)]]),  # all of one hash
    '["dict",[["tuple",[]]]]',
)


@pytest.mark.parametrize("line", LONG_OUTSIDE, ids=lambda line: line[:30])
def test_a_line_that_would_take_long_out_here_is_no_value(line: str) -> None:
    assert decoded(line) is None


@needs_sandbox
@pytest.mark.parametrize(
    "value",
    [
        "type('F', (__import__('fractions').Fraction,), {'__str__': lambda self: '1e3000000'})(2)",
        "type('D', (__import__('decimal').Decimal,), {'__str__': lambda self: '1e900000'})(2)",
    ],
)
def test_a_number_is_told_by_what_it_holds_and_not_by_its_own_words(value: str) -> None:
    assert scored(f"def f():\n    return {value}", ["assert f() == 2"]).value == 1.0


@needs_sandbox
def test_setup_code_runs_before_the_answer_and_tests_may_be_statements() -> None:
    setup = "class Pair:\n    def __init__(self, a, b): self.a, self.b = a, b"
    answer = "def total(p):\n    return p.a + p.b + BASE if 'BASE' in globals() else p.a + p.b"
    tests = [
        "assert total(Pair(1, 2)) == 3",
        "def check(candidate):\n    assert candidate(Pair(2, 2)) == 4",
        "check(total)",
    ]
    assert scored(answer, tests, setup).value == 1.0
    assert scored(answer.replace("p.b", "1"), tests, setup).metrics["passed"] == pytest.approx(1 / 3)


def test_an_answer_that_never_names_the_function_is_not_run() -> None:
    assert scored("def other(x):\n    return x").reason == "does not define double"


@needs_sandbox
@pytest.mark.parametrize(
    "trick",
    [
        pytest.param("import os\nos._exit(0)\ndouble = 1", id="leaving at once"),
        pytest.param("import sys\nsys.exit(0)\ndouble = 1", id="exit before the tests"),
        pytest.param("def double(x):\n    import os\n    os._exit(0)", id="leaving in a test"),
        pytest.param("def double(x):\n    raise SystemExit(0)", id="exit in a test"),
        pytest.param(
            "class Same:\n    def __eq__(self, other): return True\n    def __hash__(self): return 1\n"
            "def double(x): return Same()",
            id="an object that equals everything",
        ),
        pytest.param(
            "class Same(int):\n    def __eq__(self, other): return True\n    def __hash__(self): return 1\n"
            "def double(x): return Same()",
            id="a number that equals everything",
        ),
        pytest.param(
            "import builtins\nbuiltins.AssertionError = type('Quiet', (Exception,), {})\ndef double(x): return 0",
            id="another AssertionError",
        ),
        pytest.param(
            "import sys, atexit\nsys.excepthook = lambda *e: None\natexit.register(lambda: print('passed'))\n"
            "def double(x): raise ValueError",
            id="hooks at the end",
        ),
        pytest.param(
            "import builtins\nbuiltins.eval = lambda *a: True\nbuiltins.compile = lambda *a: 'True'\n"
            "def double(x): return 0",
            id="eval that always says yes",
        ),
        pytest.param(
            "import sys\nframe = sys._getframe(1)\n"
            "frame.f_globals['encoded'] = lambda *a: 'true'\nframe.f_globals['words'] = lambda e: 'passed'\n"
            "def double(x): return 0",
            id="patching what runs it",
        ),
        pytest.param(
            "import os, re, marshal\n"
            "for fd in range(3, 12):\n"
            "    try: data = os.read(fd, 1 << 20)\n"
            "    except OSError: continue\n"
            "    if data:\n"
            "        steps = marshal.loads(data[4:])\n"
            "        for out in range(3, 12):\n"
            "            try: os.write(out, ''.join(f'{s[0]} = true\\n' for s in steps).encode())\n"
            "            except OSError: pass\n"
            "        os._exit(0)\n"
            "def double(x): return 0",
            id="reading the steps and telling that they passed",
        ),
        pytest.param("abs = lambda x: 0\ndef double(x): return 0", id="everything near to everything"),
        pytest.param(
            "import gc\nfor each in gc.get_objects():\n"
            "    if isinstance(each, list) and each and isinstance(each[0], tuple): each.clear()\n"
            "def double(x): return 0",
            id="emptying the list of tests",
        ),
    ],
)
def test_code_that_only_looks_as_if_it_passed_does_not_pass(trick: str) -> None:
    assert scored(trick).value == 0.0
    assert scored(trick, ["assert abs(double(2) - 4) < 0.01"]).value == 0.0


@needs_sandbox
def test_sandboxes_run_beside_each_other_and_the_loop_goes_on() -> None:
    scorer, ticks = Code(Limits(cpu_s=2, wall_s=60)), 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    async def main() -> list[Score]:
        clock = asyncio.create_task(tick())
        rows = [example([f"assert f({n}) == {n}"]) for n in range(6)]
        found = await asyncio.gather(
            *(
                grade(scorer, Completion("import time\ndef f(n):\n    time.sleep(0.3)\n    return n"), row)
                for row in rows
            )
        )
        clock.cancel()
        return found

    assert [score.value for score in asyncio.run(main())] == [1.0] * 6
    assert ticks >= 10
    assert len(scorer.done) == 6
    asyncio.run(main())  # in another loop, from what is known
    assert len(scorer.done) == 6


def test_examples_without_tests_are_refused() -> None:
    for meta in ({}, {"test_list": []}, {"test_list": "assert f(1)"}, {"test_list": ["assert f("]}):
        with pytest.raises(InputError, match="example e"):
            asyncio.run(grade(Code(), Completion("x"), Example("e", "q", "t", meta=meta)))


# ---------------------------------------------------------------- the public set


def _rows(shared_data: Path, half: str) -> list[Example]:
    path = shared_data / "code-completion" / f"{half}.jsonl"
    if not path.is_file():
        pytest.skip("the set code-completion is not at hand")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Example(row["id"], row["input"], row["output"].strip(), meta=row["meta"]) for row in rows]


@needs_sandbox
@pytest.mark.slow
@pytest.mark.parametrize("half", ["train", "test"])
def test_every_reference_of_mbpp_passes(shared_data: Path, half: str) -> None:
    rows, scorer = _rows(shared_data, half), code()

    async def main() -> list[Score]:
        return await asyncio.gather(*(grade(scorer, Completion(row.target), row) for row in rows))

    found = asyncio.run(main())
    failed = [(row, score) for row, score in zip(rows, found, strict=True) if score.value < 1]
    assert {row.id: score.reason for row, score in failed} in ({}, {"code-completion-test-0191": "timeout"})
    patient = Code(Limits(cpu_s=120, wall_s=400))  # that one works for more than ten seconds
    assert all(asyncio.run(grade(patient, Completion(row.target), row)).value == 1 for row, _ in failed)


@needs_sandbox
@pytest.mark.slow
def test_references_of_mbpp_with_a_planted_error_fail(shared_data: Path) -> None:
    rows, scorer = _rows(shared_data, "test")[:100], code()
    wrong = "\n\n_kept = {name}\ndef {name}(*a, **k):\n    return [_kept(*a, **k)]"

    async def main() -> list[Score]:
        asked = []
        for row in rows:
            (name, *_) = names_needed(row.meta["test_setup_code"], row.meta["test_list"])
            asked.append(grade(scorer, Completion(row.target + wrong.format(name=name)), row))
        return await asyncio.gather(*asked)

    assert [row.id for row, score in zip(rows, asyncio.run(main()), strict=True) if score.value > 0] == []
