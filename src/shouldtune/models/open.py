"""A model from its id, and a fitted model from its folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shouldtune.errors import InputError, ModelUnavailable
from shouldtune.files import write_whole
from shouldtune.models.calibrated import Calibrated
from shouldtune.models.doubles import Abilities, Flaky, Priced, Scripted
from shouldtune.models.judges import PREFIX, ScriptedJudge
from shouldtune.models.plain import Constant, Echo, Linear, Nearest
from shouldtune.models.prompted import Prompted
from shouldtune.models.providers import ANY, is_remote
from shouldtune.models.redactor import Redactor
from shouldtune.models.remote import open_remote, remote_from_spec, remote_of
from shouldtune.models.tool_calling import ToolCalling
from shouldtune.types import Example, Model, ModelSpec

if TYPE_CHECKING:
    from shouldtune.models.local import LocalModel
    from shouldtune.models.vllm import VllmModel

SPEC_FILE = "model.json"
LOCAL = ("smollm2", "gguf:", "hf:", "vllm:")
HERE = ("local", "vllm")
"""Kinds of specs whose models take this machine's time and no dollars."""
HINT = "smollm2, gguf:PATH, hf:FOLDER, vllm:FOLDER, openai:NAME (or another provider), http://host:port/v1#NAME"


def is_local(model_id: str) -> bool:
    """Whether an id names a model that runs on this machine, and takes its time instead of dollars."""
    return model_id == LOCAL[0] or model_id.startswith(LOCAL[1:])


def is_served_here(model_id: str) -> bool:
    """Whether an id names a model that a vLLM server of ours answers for."""
    return model_id.startswith(LOCAL[-1])


def is_simulated(model_id: str | None) -> bool:
    """Whether an id names a double."""
    return model_id is not None and model_id.startswith("scripted:")


def open_model(model_id: str, examples: Sequence[Example] = ()) -> Model:
    """The model that an id names; `examples` are what a scripted one knows. InputError or ModelUnavailable."""
    if model_id.startswith(PREFIX):
        return ScriptedJudge.knowing(examples, model_id.removeprefix(PREFIX))
    if is_simulated(model_id):
        return Scripted.knowing(examples, Abilities.parse(model_id.removeprefix("scripted:")))
    if model_id.startswith(ANY):
        from shouldtune.models.any_llm import open_any

        return open_any(model_id)
    if is_remote(model_id):
        return open_remote(model_id)
    if is_served_here(model_id):
        from shouldtune.models.vllm import open_vllm

        return open_vllm(model_id)
    if is_local(model_id):
        from shouldtune.models.local import open_local

        return open_local(model_id)
    raise InputError(f"{model_id!r} names no model", hint=HINT)


def describe_model(model_id: str, examples: Sequence[Example] = ()) -> Model:
    """The same where nothing is to be asked: a key need not be at hand to know what would be."""
    return remote_of(model_id) if is_remote(model_id) else open_model(model_id, examples)


def save_fitted(model: Model, folder: Path) -> None:
    """Write a fitted model as `model.json`, with the files that it needs (an adapter) beside it."""
    spec: ModelSpec = _with_files(model.spec(), folder)
    write_whole(folder / SPEC_FILE, json.dumps(spec, ensure_ascii=False, indent=1))


def open_fitted(folder: Path) -> Model:
    """The model that `save_fitted` wrote. Only our own classes are made, from plain data. InputError."""
    path = folder / SPEC_FILE
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"no fitted model can be read here: {error}", where=path) from None
    try:
        return _from_spec(spec, folder)
    except (KeyError, TypeError) as error:
        raise InputError(f"this is no saved model: {error!r}", where=path) from None


def _with_files(spec: ModelSpec, folder: Path) -> ModelSpec:
    """The spec with every adapter copied into `folder` and named relative to it."""
    changed = {name: _with_files(value, folder) if isinstance(value, dict) else value for name, value in spec.items()}
    if "sha256" in spec and "path" in spec:
        target = folder / "adapter"
        shutil.copytree(spec["path"], target, dirs_exist_ok=True)
        changed["path"] = "adapter"
    return changed


def _from_spec(spec: ModelSpec, folder: Path) -> Model:
    kind = spec["kind"]
    if kind == "prompted":
        return Prompted.from_spec(spec, _from_spec(spec["model"], folder))
    if kind == "tool_calling":
        return ToolCalling.from_spec(spec, _from_spec(spec["model"], folder))
    if kind == "calibrated":
        inner = _from_spec(spec["model"], folder)
        return Calibrated(inner, tuple(spec["choices"]), tuple(spec["usual"]))
    if kind == "remote":
        return remote_from_spec(spec)
    if kind == "any_llm":
        from shouldtune.models.any_llm import any_from_spec

        return any_from_spec(spec)
    if kind in ("local", "vllm"):
        model = _opened_here(spec)
        if model.spec()["revision"] != spec["revision"]:
            raise ModelUnavailable(
                f"{spec['model']!r} is no longer the model that this was fitted with",
                where=folder / SPEC_FILE,
                hint="run the task again with the model at hand",
            )
        adapter: dict[str, Any] | None = spec.get("adapter")
        if adapter is None:
            return model
        place = (folder / adapter["path"]).resolve()
        if not place.is_relative_to(folder.resolve()):
            raise InputError("the adapter lies outside the model's folder", where=folder / SPEC_FILE)
        return model.with_adapter(place, expected_sha256=adapter["sha256"])
    plain: dict[str, Any] = {
        "constant": lambda: Constant(spec["text"]),
        "echo": Echo,
        "nearest": lambda: Nearest(_pairs(spec["shots"])),
        "linear": lambda: Linear(_pairs(spec["shots"]), spec["strength"]),
        "redactor": lambda: Redactor(_pairs(spec["rules"]), _pairs(spec["phrases"]), _pairs(spec["words"])),
        "flaky": lambda: Flaky(_from_spec(spec["model"], folder), spec["rate"]),
        "priced": lambda: Priced(_from_spec(spec["model"], folder), spec["read"], spec["written"]),
    }
    if kind not in plain:
        raise ModelUnavailable(f"a model of kind {kind!r} cannot be opened again", where=folder / SPEC_FILE)
    made: Model = plain[kind]()
    return made


def _opened_here(spec: ModelSpec) -> LocalModel | VllmModel:
    """The base that a spec names, on this machine."""
    if spec["kind"] == "vllm":
        from shouldtune.models.vllm import open_vllm

        return open_vllm(spec["model"])
    from shouldtune.models.local import open_local

    return open_local(spec["model"], engine=spec["engine"])


def _pairs(rows: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((asked, answer) for asked, answer in rows)
