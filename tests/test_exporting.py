"""What is exported answers as the run did, or is refused, or is marked as failed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shouldtune.exporting import Wish, export
from shouldtune.exporting.folder import FAILED, MANIFEST
from shouldtune.models.gguf_cache import sha256_of
from shouldtune.run import RunRecord
from tests.conftest import MakeTask
from tests.exporting_world import PACKAGES, tiny_run
from tests.tiny_llama import write_tiny_gguf

for name in PACKAGES:
    pytest.importorskip(name)
pytest.importorskip("torch").set_num_threads(1)  # the model is too small for two


@pytest.fixture
def run(make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRecord:
    monkeypatch.setenv("SHOULDTUNE_CACHE", str(tmp_path / "cache"))
    return tiny_run(make_task, write_tiny_gguf(tmp_path / "tiny.gguf"), "few_shot")


def test_an_exported_prompt_gives_the_runs_own_answers(run: RunRecord) -> None:
    done = export(run.folder, "prompt", Wish("few_shot"))
    assert done.parity.outcome == "passed"
    assert done.parity.n == done.parity.of == 18
    assert done.parity.same_answers == 18
    assert not (done.folder / FAILED).exists()
    code = (done.folder / "prompt.py").read_text(encoding="utf-8")
    assert "shouldtune" not in code and "import" not in code.replace("import needed", "")
    told = json.loads((done.folder / MANIFEST).read_text(encoding="utf-8"))
    assert told["files"]["prompt.py"]["sha256"] == sha256_of(done.folder / "prompt.py")
    assert set(told["files"]) == {"README.md", "prompt.json", "prompt.py"}
