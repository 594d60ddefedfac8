"""Ollama: a Modelfile that carries model, chat template and prompt, and the grammar that it is read back by.

Grammar: https://docs.ollama.com/modelfile. Every text stands between three quotation marks, where nothing is escaped.
Ollama puts SYSTEM first, then the MESSAGEs, then what is asked. A tuned model is written whole: see `tuned_gguf`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from shouldtune.errors import InputError
from shouldtune.exporting.folder import copy
from shouldtune.exporting.merging import merged_weights
from shouldtune.exporting.prompt_files import before, write_prompt
from shouldtune.exporting.searching import refuse_searches
from shouldtune.exporting.source import Source
from shouldtune.exporting.tuned_gguf import write_tuned_gguf
from shouldtune.exporting.turns import Turns, turns_of
from shouldtune.exporting.weights import gguf_of, refuse_elsewhere, write_merged_model
from shouldtune.models.chat_tokenizer import ChatTokenizer
from shouldtune.models.gguf_cache import sha256_of
from shouldtune.models.llama_config import LlamaConfig

FILE, BASE, TUNED = "Modelfile", "base.gguf", "tuned.gguf"
TUNED_FOLDER = "tuned"
"""A tuned model whose base is no GGUF file: safetensors, which Ollama converts."""
INSTRUCTIONS = ("FROM", "PARAMETER", "TEMPLATE", "SYSTEM", "ADAPTER", "LICENSE", "MESSAGE")
_MARKS = '"""'


def tokenizer_of(source: Source) -> ChatTokenizer:
    return ChatTokenizer(source.local.identity.folder)


def _turns(source: Source) -> Turns:
    turns = turns_of(tokenizer_of(source))
    if turns is None or any("{{" in text for text in turns.parts()):
        raise InputError(
            "the model's chat template is no row of turns, so it cannot be written in Ollama's language",
            where=source.local.identity.folder,
            hint="--to merged or --to vllm carries the template itself",
        )
    return turns


def refuse(source: Source) -> None:
    """InputError where a Modelfile cannot say what the run asked."""
    refuse_elsewhere(source)
    refuse_searches(source)
    _turns(source)
    texts = [turn["content"] for turn in before(source.prompt)]
    if any(_MARKS in text or text.endswith('"') for text in texts):
        raise InputError(
            "a text of the prompt holds three quotation marks, or ends with one, which no Modelfile can carry",
            where=source.record.folder,
            hint="--to vllm keeps the prompt apart from the server",
        )


def write_ollama(source: Source, folder: Path) -> None:
    """The Modelfile, the model that it names, and the prompt for whoever wants it apart."""
    model = _write_model(source, folder)
    write_prompt(source, folder)
    (folder / FILE).write_text(modelfile(source, model), encoding="utf-8")


def _write_model(source: Source, folder: Path) -> str:
    """Write the model; what FROM calls it."""
    gguf, there, adapter = gguf_of(source), source.local.identity.folder, source.adapter
    if gguf is not None and sha256_of(gguf) != source.local.identity.revision:
        raise InputError("the GGUF file is not the one that the run used", where=gguf)
    if gguf is not None and adapter is not None:
        write_tuned_gguf(gguf, merged_weights(there, adapter), LlamaConfig.read(there).head_width, folder / TUNED)
        return f"./{TUNED}"
    if gguf is not None:
        copy(gguf, folder / BASE)
        return f"./{BASE}"
    if adapter is not None:
        (folder / TUNED_FOLDER).mkdir()
        write_merged_model(source, folder / TUNED_FOLDER)
        return f"./{TUNED_FOLDER}"
    return str(there)


def modelfile(source: Source, model: str) -> str:
    """The Modelfile's text."""
    turns, chat, options = _turns(source), before(source.prompt), source.prompt.options
    lines = [f"FROM {model}", f"TEMPLATE {_MARKS}{turns.go()}{_MARKS}"]
    system = next((turn["content"] for turn in chat if turn["role"] == "system"), turns.usual)
    if system is not None:
        lines.append(f"SYSTEM {_MARKS}{system}{_MARKS}")
    lines += [f"MESSAGE {turn['role']} {_MARKS}{turn['content']}{_MARKS}" for turn in chat if turn["role"] != "system"]
    tokenizer = tokenizer_of(source)
    ends = [tokenizer.token(index) for index in tokenizer.config.eos]
    values = [("temperature", f"{options.temperature:g}"), ("seed", str(options.seed))]
    values += [("repeat_penalty", "1"), ("num_predict", str(options.max_tokens))]
    values += [("num_ctx", str(tokenizer.config.window))]
    values += [("stop", json.dumps(stop, ensure_ascii=False)) for stop in (*ends, *options.stop)]
    lines += [f"PARAMETER {name} {value}" for name, value in values]
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------- the grammar


_LINE = re.compile(r'([A-Z]+) ((?:system|user|assistant) )?(?:"""(.*?)"""|([^"\n][^\n]*))(?:\n|\Z)', re.DOTALL)


def parse(text: str) -> list[tuple[str, str]]:
    """(instruction, argument) of each line, texts without their marks. InputError for what is no Modelfile."""
    found, rest, line = [], text, 1
    while rest:
        head, _, _ = rest.partition("\n")
        if not head.strip() or head.startswith("#"):
            rest, line = rest[len(head) + 1 :], line + 1
            continue
        match = _LINE.match(rest)
        if match is None or match[1] not in INSTRUCTIONS or (match[1] == "MESSAGE") != bool(match[2]):
            raise InputError("this is no line of a Modelfile", where=f"{FILE}:{line}")
        words = match[3] if match[3] is not None else match[4]
        found.append((match[1], f"{match[2] or ''}{words}"))
        rest, line = rest[match.end() :], line + match[0].count("\n")
    if sum(name == "FROM" for name, _ in found) != 1:
        raise InputError("a Modelfile names one model in FROM", where=FILE)
    return found
