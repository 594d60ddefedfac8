"""What `check` finds before anything is spent."""

from __future__ import annotations

import asyncio
from typing import Any

from shouldtune.checks import Finding, check
from shouldtune.task import load_task
from tests.conftest import MakeTask, Rows, numbered_rows


def findings(make_task: MakeTask, rows: Rows, **changes: Any) -> dict[str, Finding]:
    found = asyncio.run(check(load_task(make_task(rows, **changes))))
    return {finding.title: finding for finding in found}


def test_clean_data_passes(make_task: MakeTask) -> None:
    found = findings(make_task, numbered_rows(400), goal={"quality": 0.8})
    assert {title: finding.level for title, finding in found.items() if title != "power"} == {
        "targets": "ok",
        "contradictions": "ok",
        "overlap": "ok",
        "constant": "ok",
        "goal": "ok",
    }


def test_targets_that_fail_their_own_scorer_are_listed(make_task: MakeTask) -> None:
    rows = [
        {"id": f"r{i}", "input": f"call number {i} {i * 31}", "target": "not a call" if i == 7 else f"f.g(x{i})"}
        for i in range(60)
    ]
    found = findings(make_task, rows, scorer="call")["targets"]
    assert found.level == "problem"
    assert found.rows == ("r7: 0.00 no call",)


def test_a_json_target_that_is_no_json_is_listed(make_task: MakeTask) -> None:
    rows = [
        {"id": f"r{i}", "input": f"number {i} {i * 31}", "target": "no JSON" if i == 7 else f'{{"n": {i}}}'}
        for i in range(60)
    ]
    found = findings(make_task, rows, scorer="json")["targets"]
    assert found.level == "problem"
    assert found.rows == ("r7: 0.00 not JSON",)


def test_contradicting_targets_are_listed(make_task: MakeTask) -> None:
    rows = [*numbered_rows(60), {"input": numbered_rows(60)[3]["input"].upper(), "target": "something else"}]
    found = findings(make_task, rows)["contradictions"]
    assert found.level == "warning"
    assert found.rows == ("row-4 / row-61",)


def test_a_scorer_that_a_constant_fools_is_called_out(make_task: MakeTask) -> None:
    rows = [
        {"input": f"where is thing {i * 37}", "target": f"{['north', 'south', 'east', 'west'][i % 4]} gate {i // 9}"}
        for i in range(80)
    ]
    found = findings(make_task, rows, scorer="contains")["constant"]
    assert found.level == "problem"
    assert "fooled" in found.detail


def test_an_imbalanced_label_set_is_a_note_and_a_warning_when_it_meets_the_goal(make_task: MakeTask) -> None:
    rows = [{"input": f"text {i} about {i * 31}", "target": "rare" if i % 10 == 0 else "common"} for i in range(200)]
    assert findings(make_task, rows, scorer="label", goal={"quality": 0.95})["constant"].level == "note"
    warned = findings(make_task, rows, scorer="label", goal={"quality": 0.85})["constant"]
    assert warned.level == "warning"
    assert "'common' scores 0.90" in warned.detail


def test_a_holdout_too_small_for_the_goal_is_said_before_anything_is_spent(make_task: MakeTask) -> None:
    found = findings(make_task, numbered_rows(60), goal={"quality": 0.95})["goal"]
    assert found.level == "problem"
    assert "could not prove" in found.detail


def test_overlap_between_given_halves_is_found(make_task: MakeTask) -> None:
    import json

    folder = make_task(numbered_rows(60))
    held = [{"input": row["input"] + " please", "target": row["target"]} for row in numbered_rows(60)[:5]]
    held += [{"input": f"fresh {i * 77} thing", "target": "x"} for i in range(30)]
    (folder / "holdout.jsonl").write_text("".join(json.dumps(row) + "\n" for row in held))
    file = json.loads((folder / "shouldtune.yaml").read_text())
    del file["examples"]
    (folder / "shouldtune.yaml").write_text(json.dumps({**file, "train": "examples.jsonl", "holdout": "holdout.jsonl"}))
    found = {finding.title: finding for finding in asyncio.run(check(load_task(folder)))}["overlap"]
    assert found.level == "warning"
    assert found.detail.startswith("5 of 35")


def visits(n: int = 60) -> Rows:
    """A redaction task: a name and an e-mail address in every row."""
    names = ["Mary Stone", "Aisha Okafor", "Pedro Ruiz"]
    return [
        {
            "id": f"r{i}",
            "input": f"{names[i % 3]} ({i * 37}) wrote from user{i}@mail.example.org about matter {i * 7919}.",
            "target": f"[PERSON] ({i * 37}) wrote from [EMAIL] about matter {i * 7919}.",
        }
        for i in range(n)
    ]


def test_personal_data_are_counted_by_kind_and_none_is_told(make_task: MakeTask) -> None:
    rows = [{**row, "target": f"answer {i}"} for i, row in enumerate(visits())]
    found = findings(make_task, rows)
    assert found["personal data"].level == "note"
    assert found["personal data"].detail.startswith("60 of 60 inputs: 60 e-mail address")
    assert "left in targets" not in found
    assert "personal data" not in findings(make_task, numbered_rows(60), name="plain")


def test_targets_that_still_hold_an_identifier_and_texts_marked_unevenly_are_listed(make_task: MakeTask) -> None:
    rows = visits()
    rows[5]["target"] = rows[5]["target"].replace("[EMAIL]", "user5@mail.example.org")
    rows[8]["target"] = rows[8]["target"].replace("[PERSON]", "Pedro Ruiz")
    found = findings(make_task, rows, scorer="redaction")
    assert found["targets"].level == "ok"
    assert found["left in targets"].rows == ("r5: e-mail address",)
    (line,) = found["marked unevenly"].rows
    assert line.startswith("P... of 10 characters, PERSON: marked 19 times (r")
    assert line.endswith(", left 1 times (r8)")
    told = " ".join(f"{each.detail} {' '.join(each.rows)}" for each in found.values())
    assert "@mail" not in told and "Pedro" not in told
    clean = findings(make_task, visits(), name="clean", scorer="redaction")
    assert not {"left in targets", "marked unevenly"} & set(clean)
