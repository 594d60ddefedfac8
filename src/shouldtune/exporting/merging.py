"""A LoRA adapter merged into its base.

In more than bfloat16: what training changes is often smaller than the last bit of a bfloat16 weight, and would be
rounded away.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shouldtune.errors import ModelUnavailable
from shouldtune.models.adapter import SETTINGS, WEIGHTS

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

CONFIG, INDEX = "config.json", "model.safetensors.index.json"


def write_merged_weights(base: Path, adapter: Path, folder: Path) -> None:
    """Every weight, those that changed plus scale * B A, in float32, and the configuration that says so."""
    from safetensors.torch import load_file, save_file

    sizes, places = 0, dict[str, str]()
    changes = _changes(adapter)
    for path in sorted(base.glob("*.safetensors")):
        tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
        for name, change in [(name, changes.pop(name)) for name in list(changes) if name in tensors]:
            tensors[name] += change()
        save_file(tensors, folder / path.name, metadata={"format": "pt"})
        sizes += sum(tensor.numel() * 4 for tensor in tensors.values())
        places |= dict.fromkeys(tensors, path.name)
    if changes:
        raise ModelUnavailable(f"the base has no weight {next(iter(changes))}", where=base)
    if (base / INDEX).exists():
        index = {"metadata": {"total_size": sizes}, "weight_map": places}
        (folder / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")
    config = json.loads((base / CONFIG).read_text(encoding="utf-8"))
    config |= {"dtype": "float32", "torch_dtype": "float32"}
    (folder / CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")


def merged_weights(base: Path, adapter: Path) -> dict[str, Callable[[], np.ndarray[Any, Any]]]:
    """The weights that changed, by name, in float32, each computed when called; of a base in one file."""
    from safetensors import safe_open

    place = base / "model.safetensors"

    def merged(name: str, change: Callable[[], Tensor]) -> np.ndarray[Any, Any]:
        with safe_open(place, "pt") as file:
            whole: np.ndarray[Any, Any] = (file.get_tensor(name).float() + change()).numpy()
        return whole

    return {name: partial(merged, name, change) for name, change in _changes(adapter).items()}


def _changes(adapter: Path) -> dict[str, Callable[[], Tensor]]:
    """What is added to each weight, by the weight's name, computed when called."""
    from safetensors.torch import load_file

    settings = json.loads((adapter / SETTINGS).read_text(encoding="utf-8"))
    scale, weights = settings["lora_alpha"] / settings["r"], load_file(adapter / WEIGHTS)
    ends = ".lora_A.weight"

    def change(name: str) -> Tensor:
        down, up = weights[name + ends].float(), weights[name + ".lora_B.weight"].float()
        changed: Tensor = scale * (up @ down)
        return changed

    modules = [name.removesuffix(ends) for name in weights if name.endswith(ends)]
    return {f"{name.removeprefix('base_model.model.')}.weight": partial(change, name) for name in modules}
