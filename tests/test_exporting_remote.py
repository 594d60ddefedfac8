"""An exported prompt for a model behind an address asks for what the run asked for, field by field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shouldtune.exporting import Wish, export
from shouldtune.exporting.prompt_files import run_prompt, run_request
from shouldtune.exporting.source import open_source
from shouldtune.models.requests import Manner
from shouldtune.run import RunRecord
from tests.exporting_world import again, small_run, written
from tests.faulty_server import Body, FaultyServer

SAYS = {
    "max_tokens": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
    "seed": "Unknown parameter: 'seed'.",
    "response_format": "response_format is not supported",
}
CODES = ["c0", "c1", "c2"]


def named(body: Body) -> str:
    """The code that the input names."""
    found = re.search(r"c\d", body["messages"][-1]["content"])
    return found[0] if found else "none"


@contextmanager
def remote_run(place: Path, refuses: Mapping[str, str], **changes: Any) -> Iterator[tuple[RunRecord, FaultyServer]]:
    with FaultyServer(named, refuses=refuses).running() as server:
        yield small_run(place / "task", server.model_id, "few_shot", tune=None, **changes), server


def asked_for(body: Body) -> Body:
    return {name: value for name, value in body.items() if name not in ("model", "messages")}


@pytest.mark.parametrize("refused", [(), ("max_tokens", "seed"), ("response_format",)])
@pytest.mark.parametrize("scorer", ["exact", "label"])
def test_the_exported_request_is_the_one_that_the_server_took(
    tmp_path: Path, refused: tuple[str, ...], scorer: str
) -> None:
    out = tmp_path / "out"
    with remote_run(tmp_path, {name: SAYS[name] for name in refused}, scorer=scorer) as (record, server):
        asked = len(server.bodies)
        parity = export(record.folder, "prompt", Wish("few_shot", out)).parity
        assert (parity.outcome, parity.same_answers, parity.n) == ("passed", 36, 36), parity.because
        assert len(server.bodies) == asked  # nothing is billed anew
        request, last = run_request(out), server.bodies[-1]
        assert request == asked_for(last) == json.loads((out / "prompt.json").read_text(encoding="utf-8"))["request"]
        assert run_prompt(out, [last["messages"][-1]["content"]]) == [last["messages"]]
    if scorer == "label" and "response_format" not in refused:
        assert request["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"] == CODES
        assert "whose `label` is the answer" in (out / "README.md").read_text(encoding="utf-8")
    assert ("max_completion_tokens" in request, "seed" in request) == (
        "max_tokens" in refused,
        "seed" not in refused,
    )


def test_what_a_server_taught_is_known_to_a_run_that_asks_it_nothing(tmp_path: Path) -> None:
    with remote_run(tmp_path, {"seed": SAYS["seed"]}) as (record, server):
        asked = len(server.bodies)
        again_run = small_run(tmp_path / "task", server.model_id, "few_shot", tune=None, goal={"quality": 0.5})
        assert len(server.bodies) == asked
        assert again_run.folder != record.folder
        assert open_source(again_run.folder, "few_shot").manner == Manner(left_out=frozenset({"seed"}))


def test_an_answer_is_given_to_no_request_but_the_runs_own(tmp_path: Path) -> None:
    with remote_run(tmp_path, {}) as (record, _):
        source = open_source(record.folder, "few_shot")
    code = written(source, "prompt", tmp_path / "out") / "prompt.py"
    whole = code.read_text(encoding="utf-8")
    assert again(source, "prompt", code.parent).outcome == "passed"
    for changed, what in (("'max_tokens': 5", "the request"), ("Name a code.", "the messages")):
        code.write_text(
            whole.replace("'max_tokens': 4", changed) if "max" in changed else whole.replace("Name the code.", changed),
            encoding="utf-8",
        )
        parity = again(source, "prompt", code.parent)
        assert parity.outcome == "failed"
        assert parity.difference is not None
        assert parity.difference.what == what
        assert "36 of 36 calls failed; the first: the run never sent this request" in parity.because[1]
