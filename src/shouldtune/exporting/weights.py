"""Weights as Hugging Face lays them out: a LoRA adapter beside its base, or one merged into the other."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from shouldtune.errors import InputError
from shouldtune.exporting.folder import copy
from shouldtune.exporting.merging import CONFIG, INDEX, write_merged_weights
from shouldtune.exporting.prompt_files import write_prompt
from shouldtune.exporting.searching import refuse_other_searches
from shouldtune.exporting.source import Source
from shouldtune.models.adapter import SETTINGS, WEIGHTS
from shouldtune.models.chat_tokenizer import fixed_template
from shouldtune.models.gguf_cache import smollm2_gguf
from shouldtune.models.llama_config import LlamaConfig

TEMPLATE = "chat_template.jinja"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
BASE, ADAPTER = "base", "adapter"


def refuse_untrained(source: Source) -> None:
    """InputError where no weight was changed here, or the prompt cannot be carried."""
    if source.adapter is None:
        raise InputError(
            f"{source.rung} changed no weights here",
            where=source.record.folder,
            hint="--to prompt writes its prompt; --rung names a rung that trained",
        )
    refuse_other_searches(source)


def refuse_elsewhere(source: Source) -> None:
    """InputError where the weights are not on this machine, or the prompt cannot be carried."""
    refuse_other_searches(source)
    _ = source.local


def gguf_of(source: Source) -> Path | None:
    """The GGUF file that the base was read from; None where it is a Hugging Face folder."""
    named = source.local.identity.id
    if named == "smollm2":
        return smollm2_gguf()
    kind, _, place = named.partition(":")
    return Path(place).expanduser() if kind == "gguf" else None


def write_peft(source: Source, folder: Path) -> None:
    """The adapter at the top with the tokenizer, the base in base/ where nobody else could load it, and the prompt."""
    write_adapter(source, folder)
    _write_tokenizer(source, folder)
    if gguf_of(source) is not None:
        write_base(source, folder / BASE)
    write_prompt(source, folder)


def write_vllm(source: Source, folder: Path) -> None:
    """base/, adapter/ where there is one, the chat template, the prompt, and the command."""
    if gguf_of(source) is not None:
        write_base(source, folder / BASE)
    if source.adapter is not None:
        write_adapter(source, folder / ADAPTER)
    _write_template(source, folder)
    write_prompt(source, folder)
    lines = ["#!/bin/sh", 'cd "$(dirname "$0")" || exit', f'exec {vllm_command(source)} "$@"']
    (folder / "serve.sh").write_text("\n".join(lines) + "\n", encoding="utf-8")


def vllm_command(source: Source) -> str:
    """What starts vLLM, from inside the folder."""
    parts = [f"vllm serve {shlex.quote(base_place(source))}", "--generation-config vllm", f"--dtype {_dtype(source)}"]
    parts.append(f"--chat-template ./{TEMPLATE}")
    if source.adapter is not None:
        rank = json.loads((source.adapter / SETTINGS).read_text(encoding="utf-8"))["r"]
        most = next((size for size in (8, 16, 32, 64, 128, 256, 320, 512) if size >= rank), rank)
        parts += ["--enable-lora", f"--max-lora-rank {most}", f"--lora-modules tuned=./{ADAPTER}"]
    return " \\\n  ".join(parts)


def _dtype(source: Source) -> str:
    return source.local.identity.engine.dtype


def base_place(source: Source) -> str:
    """Where an export finds its base: beside it, or the folder that the task names."""
    return f"./{BASE}" if gguf_of(source) is not None else str(source.local.identity.folder)


def base_folder(source: Source, folder: Path) -> Path:
    """The same, for the export in `folder`."""
    return folder / BASE if gguf_of(source) is not None else source.local.identity.folder


def write_base(source: Source, folder: Path) -> None:
    """The base as Hugging Face lays it out, in the precision that it has here."""
    there = source.local.identity.folder
    for path in sorted(there.glob("*.safetensors")):
        copy(path, folder / path.name)
    for name in (CONFIG, INDEX):
        if (there / name).exists():
            copy(there / name, folder / name)
    _write_tokenizer(source, folder)
    _write_generation_config(source, folder)


def write_merged(source: Source, folder: Path) -> None:
    """The tuned model as one, with tokenizer, chat template, generation settings and the prompt."""
    write_merged_model(source, folder)
    write_prompt(source, folder)


def write_merged_model(source: Source, folder: Path) -> None:
    """The same without the prompt."""
    assert source.adapter is not None  # noqa: S101  refused before
    write_merged_weights(source.local.identity.folder, source.adapter, folder)
    _write_tokenizer(source, folder)
    _write_generation_config(source, folder)


def write_adapter(source: Source, folder: Path) -> None:
    """peft's two files, the base named as the export knows it."""
    assert source.adapter is not None  # noqa: S101  refused before
    copy(source.adapter / WEIGHTS, folder / WEIGHTS)
    settings = json.loads((source.adapter / SETTINGS).read_text(encoding="utf-8"))
    settings["base_model_name_or_path"] = base_place(source).removeprefix("./")
    (folder / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def _write_tokenizer(source: Source, folder: Path) -> None:
    there = source.local.identity.folder
    for name in TOKENIZER:
        if (there / name).exists():
            copy(there / name, folder / name)
    _write_template(source, folder)


def _write_template(source: Source, folder: Path) -> None:
    """The chat template; one that prints the day prints the one that the run was told, whatever the day is."""
    (folder / TEMPLATE).write_text(fixed_template(source.local.identity.folder), encoding="utf-8")


def _write_generation_config(source: Source, folder: Path) -> None:
    """Greedy, as it was measured; an answer ends where the engine's ended."""
    config = LlamaConfig.read(source.local.identity.folder)
    told: dict[str, Any] = {"do_sample": False, "eos_token_id": list(config.eos)}
    if config.bos is not None:
        told["bos_token_id"] = config.bos
    if config.eos:
        told["pad_token_id"] = config.eos[0]
    (folder / "generation_config.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
