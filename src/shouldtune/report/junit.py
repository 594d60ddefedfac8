"""A run as JUnit XML, which build servers read: one case a rung, and one for the goal.

A rung that misses the goal fails its case, one that could not be measured is an error, one that did not apply is
skipped. What counts for the build is the case `goal`: it passes where any rung meets it, as `run --fail-on goal` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from shouldtune.judgement import RungResult
from shouldtune.report import costs, labels, words
from shouldtune.report.terminal import plain_lines
from shouldtune.report.words import one_line, printable

if TYPE_CHECKING:
    from shouldtune.run import RunRecord


def to_junit(record: RunRecord, stands: tuple[bool | None, str] | None = None) -> str:
    """The whole document, with the plain report as the suite's output.

    `stands`, for a re-check: whether the verdict does, None where it cannot be told, and what is said of it.
    """
    task = _kept(one_line(record.asked.get("name") or "task"))
    suite = Element("testsuite", name=task)
    if stands is not None:
        case = SubElement(suite, "testcase", classname=task, name="verdict stands", time="0")
        _say(case, {True: "", False: "failure", None: "error"}[stands[0]], stands[1])
    _goal(suite, record, task)
    for rung in record.verdict.rungs:
        case = SubElement(suite, "testcase", classname=f"{task}.ladder", name=_kept(one_line(rung.name)))
        case.set("time", f"{(rung.seconds_per_1k or 0.0) * rung.n / 1000:.3f}")
        _say(case, *_outcome(rung, words.goal_quality(record)))
    for kind, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(kind, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite.findall("testcase"))))
    SubElement(suite, "system-out").text = _kept("\n".join(plain_lines(record)))
    root = Element("testsuites", {name: suite.attrib[name] for name in ("tests", "failures", "errors", "skipped")})
    root.append(suite)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _goal(suite: Element, record: RunRecord, task: str) -> None:
    verdict, goal = record.verdict, words.goal_quality(record)
    answer, clause = words.headline(verdict)
    said = f"Should you fine-tune? {answer}: {clause} {costs.sentence(record)}"
    case = SubElement(suite, "testcase", classname=task, name="goal", time="0")
    if not any(rung.quality is not None for rung in verdict.rungs):
        _say(case, "error", said)
    elif goal is None:
        _say(case, "skipped", f"no goal was set. {said}")
    elif not any(rung.meets_goal for rung in verdict.rungs):
        unmeasured = verdict.reason == "unmeasured"
        _say(case, "error" if unmeasured else "failure", said)


def _outcome(rung: RungResult, goal: float | None) -> tuple[str, str]:
    """(the tag, what it says); no tag where the case passes."""
    if not rung.applied:
        return "skipped", labels.why_skipped(rung)
    if rung.quality is None:
        return "error", f"not measured: {words.counted(rung.unmeasured, 'call')} failed"
    quality = words.interval(rung.quality, rung.low, rung.high)
    if goal is None or rung.meets_goal:
        return "", ""
    missed = "below" if rung.high is not None and rung.high < goal else "not proven to reach"
    return "failure", f"{quality} is {missed} the goal of {words.score(goal)}"


def _say(case: Element, tag: str, text: str) -> None:
    if tag:
        SubElement(case, tag, message=_kept(text))


def _kept(text: str) -> str:
    """What XML 1.0 can hold: no control characters, and none of the two that are no characters at all."""
    return "".join(c for c in printable(text) if c not in "\ufffe\uffff")
