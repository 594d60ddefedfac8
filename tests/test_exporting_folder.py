"""An export's folder is written whole or not at all, and nothing of anybody else's is lost for it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from shouldtune.errors import CannotMeasure, InputError
from shouldtune.exporting import Wish, export
from shouldtune.exporting.folder import MANIFEST, written_whole
from shouldtune.exporting.source import open_source
from shouldtune.run import RunRecord
from tests.exporting_world import again, written
from tests.test_exporting_remote import remote_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    with remote_run(tmp_path_factory.mktemp("folder"), {}) as (record, _):
        return record


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def put(run: RunRecord, out: Path, *, force: bool = False) -> None:
    export(run.folder, "prompt", Wish("few_shot", out, parity=False, force=force))


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------- what is overwritten


def test_an_export_is_written_anew_only_where_one_says_so(run: RunRecord, out: Path) -> None:
    put(run, out)
    with pytest.raises(InputError, match="there already"):
        put(run, out)
    (out / "prompt.py").write_text("changed")
    (out / "__pycache__").mkdir()  # left there by whoever imported it
    (out / "__pycache__" / "prompt.pyc").write_bytes(b"")
    put(run, out, force=True)
    assert "messages" in (out / "prompt.py").read_text()
    assert [path.name for path in out.parent.iterdir()] == [out.name]


@pytest.mark.parametrize("name", ["thesis.txt", "notes/thesis.txt"])
def test_what_was_put_into_an_export_is_never_overwritten(run: RunRecord, out: Path, name: str) -> None:
    put(run, out)
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("five years")
    before = everything(out)
    with pytest.raises(InputError, match=f"{name} is not a file of the export"):
        put(run, out, force=True)
    assert everything(out) == before


@pytest.mark.parametrize(
    "manifest", ['{"theirs": 1}', '{"shouldtune": 1, "form": "prompt", "files": {}}', "[]", "no JSON"]
)
def test_a_folder_with_another_tools_export_json_is_never_overwritten(run: RunRecord, out: Path, manifest: str) -> None:
    out.mkdir()
    (out / MANIFEST).write_text(manifest)
    with pytest.raises(InputError, match="no export"):
        put(run, out, force=True)
    assert everything(out) == {MANIFEST: manifest.encode()}


@pytest.mark.parametrize("where", [".", "..", "../out", "../../"])
def test_the_folder_that_the_command_runs_in_is_refused_before_anything_is_written(
    run: RunRecord, out: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    out.mkdir()
    monkeypatch.chdir(out)
    for force in (False, True):
        with pytest.raises(InputError, match="the folder that the command runs in, or one around it"):
            put(run, Path(where), force=force)
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_a_relative_folder_lies_where_the_command_runs(
    run: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    put(run, Path("here"))
    assert (tmp_path / "here" / MANIFEST).exists()


# ---------------------------------------------------------------- what breaks off


def test_what_was_there_is_put_back_where_the_new_folder_cannot_be(out: Path) -> None:
    out.mkdir()
    (out / "old").write_text("kept")
    with pytest.raises(CannotMeasure, match="cannot write"), written_whole(out) as fresh:
        shutil.rmtree(fresh)
    assert everything(out) == {"old": b"kept"}
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_only_what_is_written_is_told_as_a_disk_that_is_full(out: Path) -> None:
    with pytest.raises(ConnectionRefusedError), written_whole(out):
        raise ConnectionRefusedError(111, "Connection refused")
    assert list(out.parent.iterdir()) == []


def test_a_prompt_that_never_ends_fails_the_gate(run: RunRecord, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shouldtune.exporting.prompt_files.TIMEOUT_S", 0.5)
    source = open_source(run.folder, "few_shot")
    code = written(source, "prompt", out) / "prompt.py"
    code.write_text(f"import time\ntime.sleep(60)\n{code.read_text(encoding='utf-8')}", encoding="utf-8")
    parity = again(source, "prompt", out)
    assert (parity.outcome, parity.n) == ("failed", 0)
    assert "made no messages within 0.5 s" in parity.because[0]
    code.write_text("raise RuntimeError('no')", encoding="utf-8")
    assert "does not run: RuntimeError: no" in again(source, "prompt", out).because[0]


def test_the_manifest_names_every_file(run: RunRecord, out: Path) -> None:
    put(run, out)
    told = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    assert {*told["files"], MANIFEST} == set(everything(out))
