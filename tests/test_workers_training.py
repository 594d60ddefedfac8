"""Training on workers leaves what training here does, whichever workers did it."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import cast

import pytest

from shouldtune.errors import CannotMeasure
from shouldtune.models.local import open_local
from shouldtune.types import Conversation, Message, TuneSettings
from shouldtune.workers.cluster import Cluster
from shouldtune.workers.pool import Pool
from shouldtune.workers.spread import Spread, SpreadTunable
from shouldtune.workers.wire import Recipe, messages_to_json
from tests.in_process_cluster import InProcessCluster
from tests.tiny_llama import tiny_weights, write_tiny_gguf

for name in ("gguf", "tokenizers", "safetensors", "jinja2", "llguidance", "torch"):
    pytest.importorskip(name)

from shouldtune.tuning.lora import LocalTunable  # noqa: E402

SETTINGS = TuneSettings(rank=4, alpha=8, learning_rate=1e-2, epochs=3, batch_size=4, seed=1)
TEXTS = [Conversation((Message("user", f"inn {n} the {'in ' * (n % 5)}"),), f"c{n % 3}") for n in range(12)]
ASKED = [Message("user", "inn 3 the in in in ")]


def weights(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()}


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where workers make the folders that they compute in."""
    monkeypatch.setenv("SHOULDTUNE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_what_workers_train_is_what_training_here_leaves(tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "tiny.gguf")
    model_id = f"gguf:{tmp_path / 'tiny.gguf'}"

    async def here() -> tuple[str, dict[str, object]]:
        tunable = LocalTunable(open_local(model_id), tmp_path / "here")
        tuned = [each async for each in tunable.tune(TEXTS, SETTINGS)][-1]
        return (await tuned.complete(ASKED)).text, tuned.spec()

    async def there() -> tuple[str, dict[str, object]]:
        cluster = InProcessCluster(2)
        pool = Pool(cast(Cluster, cluster), Recipe(model_id), 2)
        epochs: list[Spread] = []
        async for each in SpreadTunable(pool, store=tmp_path / "there").tune(TEXTS, SETTINGS):
            epochs.append(each)
            for handle in cluster.living:  # the next epoch is another worker's
                handle.kill()
        tuned = epochs[-1]
        text = (await tuned.complete(ASKED)).text
        await pool.aclose()
        return text, tuned.spec()

    (text, spec), (text_there, spec_there) = asyncio.run(here()), asyncio.run(there())
    assert weights(tmp_path / "there") == weights(tmp_path / "here")
    assert text_there == text
    assert spec["adapter"]["sha256"] == spec_there["adapter"]["sha256"]  # type: ignore[index]


@pytest.mark.parametrize("how", ["asked nothing", "closed at once", "asked", "a bug", "a bug before", "another model"])
def test_workers_that_are_stopped_leave_no_files(tmp_path: Path, scratch: Path, how: str) -> None:
    write_tiny_gguf(tmp_path / "tiny.gguf")

    async def run() -> int:
        size = 2 if how == "another model" else 1
        cluster = InProcessCluster(size)
        pool = Pool(cast(Cluster, cluster), Recipe(f"gguf:{tmp_path / 'tiny.gguf'}"), size)
        model = Spread(pool)
        if how == "closed at once":
            asking = asyncio.create_task(model.complete(ASKED))
            await asyncio.sleep(0)
            asking.cancel()
        if how == "asked":
            await model.complete(ASKED)
        if how in {"a bug", "a bug before"}:
            with pytest.raises(json.JSONDecodeError):
                await pool.ask(None, "{", {})
        if how == "a bug before":
            await asyncio.sleep(0.1)
        if how == "another model":
            write_tiny_gguf(tmp_path / "tiny.gguf", weights=tiny_weights(seed=1))
            with pytest.raises(CannotMeasure, match="the same model"):
                while True:
                    await pool.ask(None, messages_to_json(ASKED), {})
        await pool.aclose()
        return len(cluster.handles)

    assert asyncio.run(run()) == (2 if how == "another model" else 1)
    assert not list(scratch.iterdir())
