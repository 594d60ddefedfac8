"""The commands as a user runs them: what they print, where, and how they end."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from shouldtune.cli import main
from tests.conftest import MakeTask, numbered_rows

SCRIPTED = {"model": "scripted:base=0.2,shots@4=0.95", "tune": "scripted:tuned=0.9", "goal": {"quality": 0.8}}


def shouldtune(*arguments: object) -> subprocess.CompletedProcess[str]:
    """A command in this process, which has imported already what the command needs: seconds less than in its own."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["shouldtune", *map(str, arguments)]
    code: object = 0
    try:
        with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            main()
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        sys.argv = before
    return subprocess.CompletedProcess(arguments, int(str(code)), out.getvalue(), err.getvalue())


def in_its_own_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    """A command as a user runs it."""
    command = [sys.executable, "-W", "ignore", "-m", "shouldtune.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_run_prints_its_verdict_and_writes_its_folder(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(400), **SCRIPTED)
    done = in_its_own_process("run", folder, "--allow-simulated")
    assert done.returncode == 0, done.stderr
    assert "Should you fine-tune?" in done.stdout
    assert "few_shot" in done.stdout
    assert "zero_shot: quality" in done.stderr
    run = next((folder / "runs").glob("toy-*"))
    assert {path.name for path in run.iterdir()} >= {
        "run.json",
        "verdict.json",
        "predictions.jsonl",
        "report.html",
        "winner",
        "models",
    }


def test_json_is_one_document_on_stdout(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(400), **SCRIPTED)
    done = shouldtune("run", folder, "--allow-simulated", "--json")
    verdict = json.loads(done.stdout)
    assert (verdict["answer"], verdict["reason"], verdict["rung"]) == ("no", "goal_met", "few_shot")
    assert json.loads(shouldtune("report", folder, "--json").stdout) == verdict


def test_a_report_can_be_written_as_a_page(make_task: MakeTask, tmp_path: Path) -> None:
    folder = make_task(numbered_rows(400), **SCRIPTED)
    shouldtune("run", folder, "--allow-simulated")
    page = tmp_path / "page.html"
    done = shouldtune("report", folder, "--html", page)
    assert done.returncode == 0, done.stderr
    assert page.read_text().lstrip().startswith("<!doctype html>")


def test_fail_on_goal_ends_with_100(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(400), **{**SCRIPTED, "model": "scripted:base=0.2", "tune": "scripted:tuned=0.3"})
    done = shouldtune("run", folder, "--allow-simulated", "--fail-on", "goal", "--whole-holdout", "--json")
    assert done.returncode == 100
    assert {rung["n"] for rung in json.loads(done.stdout)["rungs"] if rung["applied"]} == {120}


def bad_task(make_task: MakeTask, kind: str) -> Path:
    if kind == "missing file":
        return Path("nowhere")
    if kind == "unreachable host":
        return make_task(numbered_rows(60), model="http://127.0.0.1:9/v1#m", tune=None)
    if kind == "unknown scorer":
        return make_task(numbered_rows(60), scorer="bleurt")
    if kind == "unknown model":
        return make_task(numbered_rows(60), model="gpt-next")
    if kind == "empty data":
        return make_task([])
    if kind == "row without a target":
        return make_task([*numbered_rows(50), {"input": "q"}])
    folder = make_task(numbered_rows(60))
    if kind == "broken YAML":
        (folder / "shouldtune.yaml").write_text("name: [\n")
    if kind == "missing data":
        (folder / "examples.jsonl").unlink()
    return folder


@pytest.mark.parametrize(
    ("kind", "code", "place"),
    [
        ("missing file", 2, "nowhere"),
        ("missing data", 2, "examples.jsonl: "),
        ("broken YAML", 2, "shouldtune.yaml:2: "),
        ("row without a target", 2, "examples.jsonl:51: "),
        ("unknown scorer", 2, "shouldtune.yaml:"),
        ("unknown model", 2, "gpt-next"),
        ("unreachable host", 4, "cannot reach http://127.0.0.1:9/v1"),
        ("empty data", 2, "examples.jsonl: "),
    ],
)
def test_bad_input_gets_one_line_a_hint_and_nothing_half_written(
    make_task: MakeTask, kind: str, code: int, place: str
) -> None:
    folder = bad_task(make_task, kind)
    done = shouldtune("run", folder)
    errors = [line for line in done.stderr.splitlines() if line.startswith(("error:", "hint:"))]
    assert done.returncode == code, done.stderr
    assert [line.split(":")[0] for line in errors] == ["error", "hint"]
    assert place in errors[0]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    runs = folder / "runs"
    assert not list(runs.glob("*/verdict.json")) and not list(runs.rglob(".*"))


def test_check_speaks_before_anything_is_spent(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(60), goal={"quality": 0.95})
    done = shouldtune("check", folder)
    assert done.returncode == 0, done.stderr
    assert "could not prove the goal" in done.stdout
    found = json.loads(shouldtune("check", folder, "--json").stdout)["findings"]
    assert {finding["title"] for finding in found} >= {"targets", "constant", "goal", "power"}


def test_init_writes_a_file_that_check_accepts(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(
        "text,label\n" + "".join(f"word {i * 37} here,{'ab'[i % 2]}\n" for i in range(60))
    )
    done = shouldtune("init", tmp_path / "rows.csv")
    assert done.returncode == 0, done.stderr
    assert shouldtune("check", tmp_path).returncode == 0


def test_version_and_help_answer() -> None:
    assert shouldtune("--version").stdout.strip() == "0.1.0"
    text = shouldtune("--help").stdout
    assert all(command in text for command in ("demo", "init", "check", "run", "report"))


def test_a_terminal_is_not_obeyed_by_model_text(make_task: MakeTask) -> None:
    rows = numbered_rows(400)
    for row in rows:
        row["target"] += "\x1b[31m\x07red"
    folder = make_task(rows, **{**SCRIPTED, "instruction": "Say \x1b]0;title\x07 it."})
    done = shouldtune("run", folder, "--allow-simulated")
    assert done.returncode == 0, done.stderr
    assert not {"\x1b", "\x07"} & set(done.stdout + done.stderr)


def test_an_interrupted_command_says_that_what_was_measured_is_kept() -> None:
    code = """
import os, signal, sys
from shouldtune import cli

@cli.app.command()
def interrupted():
    os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background has it ignored
sys.argv = ["shouldtune", "interrupted"]
cli.main()
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 130
    assert "run the same command to go on" in done.stderr
