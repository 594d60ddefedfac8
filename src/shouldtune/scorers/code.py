"""Code against its unit tests, as MBPP scores it: 1 when all tests pass (pass@1), run in a sandbox.

Austin et al., "Program Synthesis with Large Language Models" (2021, arXiv 2108.07732). An example's `meta` holds
`test_list`, one assert or a few statements each, and `test_setup_code`, which is run before the answer.

How sure a pass is. Values are compared out here (asserts.py), so code that ends early, patches Python or prints what it
likes passes no `assert f(x) == literal` and no `assert abs(f(x) - literal) < literal`. What remains: an answer may know
the right values, from the prompt or by heart, and return them for the inputs tested; only tests that no prompt shows
are proof against that. And where a test is worked out inside (a comparison of two results, a `check` function), code
written to deceive can read the steps from its own process and tell that they passed.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from shouldtune.errors import InputError
from shouldtune.scorers.answer_code import code_of, has_names, names_needed, parsed
from shouldtune.scorers.asserts import Outcome, run_steps, steps_of
from shouldtune.scorers.sandbox import Limits, require_sandbox
from shouldtune.types import Completion, Example, Score

ENDS = ("syntax_error", "timeout", "crashed")
HINT = 'every row needs "meta": {"test_list": ["assert f(1) == 2", ...]}'


@dataclass(frozen=True)
class UnitTests:
    """Tests of one example."""

    setup: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """The scorer. Runs as many sandboxes at once as there are processors; the same code and tests are run once."""

    limits: Limits = Limits()
    done: dict[tuple[str, UnitTests], Score] = field(default_factory=dict, repr=False, compare=False)

    async def __call__(self, completion: Completion, example: Example) -> Score:
        """1 when all tests pass. Metrics: `passed`, the share of the tests; `syntax_error`, `timeout`, `crashed`.

        Raises InputError for an example without tests, CannotMeasure where the sandbox does not start.
        """
        unit = unit_tests(example)
        needed = names_needed(unit.setup, unit.tests)
        source = code_of(completion.text, needed)
        if source is None:
            return _score(0.0, "no Python", "syntax_error")
        if not has_names(source, needed):
            missing = next(name for name in needed if not has_names(source, (name,)))
            return _score(0.0, f"does not define {missing}")  # what is never named need not be run
        if (source, unit) not in self.done:
            outcome = await asyncio.get_running_loop().run_in_executor(_pool(), self.run, source, unit)
            self.done[source, unit] = _graded(outcome)
        return self.done[source, unit]

    def run(self, source: str, unit: UnitTests) -> Outcome:
        """Run code and tests; blocks until it has ended."""
        return run_steps({"<setup>": unit.setup, "<answer>": source}, [steps_of(t) for t in unit.tests], self.limits)


def code(where: str = "", limits: Limits = Limits()) -> Code:
    """The scorer for unit tests. InputError at `where` where there is no sandbox to run code in."""
    require_sandbox(where or None)
    return Code(limits)


def unit_tests(example: Example) -> UnitTests:
    """The tests that stand in an example's `meta`. InputError where there are none, or they are no Python."""
    tests, setup = example.meta.get("test_list"), example.meta.get("test_setup_code") or ""
    if not isinstance(tests, Sequence) or isinstance(tests, str) or not tests:
        raise InputError(f"the example {example.id} has no unit tests", hint=HINT)
    for source in (setup, *tests):
        if not isinstance(source, str) or parsed(source) is None:
            raise InputError(f"a test of the example {example.id} is no Python: {str(source)[:80]!r}", hint=HINT)
    return UnitTests(setup, tuple(tests))


@functools.cache
def _pool() -> ThreadPoolExecutor:
    """Threads that wait for sandboxes. They live on, for a sandbox dies with the thread that began it."""
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="sandbox")


def _graded(outcome: Outcome) -> Score:
    right = sum(outcome.passed)
    share = right / len(outcome.passed)
    if share == 1:
        return _score(1.0, "")
    first = outcome.errors[0] if outcome.errors else ""
    if outcome.timed_out:
        return _score(share, "timeout", "timeout")
    if first.startswith(("SyntaxError", "IndentationError", "TabError")):
        return _score(share, first, "syntax_error")
    if outcome.crashed:
        return _score(share, "ended early", "crashed")
    return _score(share, f"{right} of {len(outcome.passed)} tests" + (f"; {first}" if first else ""))


def _score(share: float, reason: str, ended: str = "") -> Score:
    metrics: Mapping[str, float] = {"passed": share, **{name: float(name == ended) for name in ENDS}}
    return Score(float(share == 1), reason, metrics)
