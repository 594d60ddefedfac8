"""The embedded model, tuned and prompted, exported and scored again on a few rows: minutes, so slow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shouldtune.errors import ModelUnavailable
from shouldtune.exporting import Wish, export
from shouldtune.models.gguf_cache import smollm2_gguf
from shouldtune.run import RunRecord
from tests.exporting_world import PACKAGES, small_run

for name in (*PACKAGES, "transformers", "peft"):
    pytest.importorskip(name)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::FutureWarning")]
COLOURS = ("red", "green", "blue", "white", "black", "amber", "silver", "brown")
THINGS = ("lamp", "door", "coat", "boat", "cup")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunRecord]:
    try:
        smollm2_gguf()
    except ModelUnavailable:
        pytest.skip("the embedded model is not installed")
    rows = [
        {"input": f"The {thing} is {colour}.", "target": f"{thing}={colour}"} for colour in COLOURS for thing in THINGS
    ]
    folder = tmp_path_factory.mktemp("smollm2") / "task"
    rows += [{"input": f"My {row['input'][4:]}", "target": row["target"]} for row in rows[::3]]
    yield small_run(
        folder, "smollm2", "few_shot,fine_tune", rows, output={"max_tokens": 8}, instruction="Write thing=colour."
    )


@pytest.mark.parametrize("form", ["prompt", "peft", "merged", "vllm", "ollama"])
def test_a_tuned_winner_scores_again_as_it_did(run: RunRecord, tmp_path: Path, form: str) -> None:
    parity = export(run.folder, form, Wish("fine_tune", tmp_path / "out")).parity
    assert parity.outcome == "passed", parity.because
    assert parity.n >= 12


@pytest.mark.parametrize("form", ["prompt", "vllm", "ollama"])
def test_a_prompted_model_scores_again_as_it_did(run: RunRecord, tmp_path: Path, form: str) -> None:
    parity = export(run.folder, form, Wish("few_shot", tmp_path / "out")).parity
    assert parity.outcome == "passed", parity.because
