"""Ollama: a Modelfile that carries model, chat template and prompt, and the grammar that it is read back by.

Grammar: https://docs.ollama.com/modelfile. Every text stands between three quotation marks, where nothing is escaped.
Ollama puts SYSTEM first, then the MESSAGEs, then what is asked. A tuned model is written whole: see `tuned_gguf`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import replace
from pathlib import Path

from shouldtune.errors import InputError
from shouldtune.exporting.asking import before
from shouldtune.exporting.folder import copy
from shouldtune.exporting.merging import merged_weights
from shouldtune.exporting.prompt_files import write_prompt
from shouldtune.exporting.searching import refuse_searches
from shouldtune.exporting.source import Source
from shouldtune.exporting.tuned_gguf import adds_first_token, write_tuned_gguf
from shouldtune.exporting.turns import Turns, turns_of
from shouldtune.exporting.weights import gguf_of, refuse_elsewhere, write_merged_model
from shouldtune.models.chat_tokenizer import ChatTokenizer
from shouldtune.models.gguf_cache import sha256_of
from shouldtune.models.gguf_file import GgufFile
from shouldtune.models.llama_config import LlamaConfig

FILE, BASE, TUNED = "Modelfile", "base.gguf", "tuned.gguf"
TUNED_FOLDER = "tuned"
"""A tuned model whose base is no GGUF file: safetensors, which Ollama converts."""
LEAST_WINDOW = 2048
"""Inputs to come may be longer than those that were held out."""
INSTRUCTIONS = ("FROM", "PARAMETER", "TEMPLATE", "SYSTEM", "ADAPTER", "LICENSE", "MESSAGE")
_MARKS = '"""'


def tokenizer_of(source: Source) -> ChatTokenizer:
    return ChatTokenizer(source.local.identity.folder)


def first_token(tokenizer: ChatTokenizer, model: Path) -> str:
    """What Ollama's tokenizer puts before every prompt by itself; empty where it puts nothing.

    Of safetensors, which Ollama converts, it is known where the tokenizer's settings say it; else it is taken to put it
    where the chat template prints it, as llama.cpp does for Llama's own models.
    """
    begins = tokenizer.token(tokenizer.config.bos)
    if not model.is_dir():
        return begins if adds_first_token(GgufFile(model)) else ""
    settings, turns = model / "tokenizer_config.json", turns_of(tokenizer)
    told = json.loads(settings.read_text(encoding="utf-8")).get("add_bos_token") if settings.exists() else None
    return begins if (bool(turns and turns.first) if told is None else told) else ""


def _turns(source: Source) -> Turns:
    """The chat template as it stands in the Modelfile. InputError where it cannot, or would not mean the same."""
    folder, tokenizer = source.local.identity.folder, tokenizer_of(source)
    turns, first = turns_of(tokenizer), first_token(tokenizer, gguf_of(source) or folder)
    hint = "--to merged or --to vllm carries the template itself"
    if turns is None or any("{{" in text for text in turns.parts()):
        raise InputError(
            "the model's chat template is no row of turns, so it cannot be written in Ollama's language",
            where=folder,
            hint=hint,
        )
    if first and not turns.first:
        raise InputError(
            f"Ollama would put {first} before every prompt, and the run's had none", where=folder, hint=hint
        )
    return replace(turns, first="") if first else turns


def refuse(source: Source) -> None:
    """InputError where a Modelfile cannot say what the run asked."""
    refuse_elsewhere(source)
    refuse_searches(source)
    said = [turn["content"] for turn in before(source.prompt)]
    for what, texts in (
        ("a text of the prompt", said),
        ("a word that ends answers", _stops(source)),
        ("the model's chat template", _turns(source).parts()),
    ):
        for text in texts:
            if why := _why_not_carried(text):
                raise InputError(
                    f"{what} {why}",
                    where=source.record.folder,
                    hint="write it otherwise, or --to vllm, which keeps the prompt apart from the server",
                )


def _why_not_carried(text: str) -> str | None:
    """Why a text would not come out of a Modelfile as it went in; None where it would."""
    if _MARKS in text or text.endswith('"'):
        return "holds three quotation marks, or ends with one, which no Modelfile can carry"
    lost = next((sign for sign in text if not _kept(sign)), None)
    return None if lost is None else f"holds U+{ord(lost):04X}, which Ollama drops from a Modelfile"


def _kept(sign: str) -> bool:
    """Whether Ollama's parser keeps a character: what Go's strconv.IsPrint prints, and what parts words and lines."""
    return sign in " \t\r\n" or unicodedata.category(sign)[0] in "LMNPS"


def _stops(source: Source) -> list[str]:
    """What ends an answer: the model's own tokens, and the task's words."""
    tokenizer = tokenizer_of(source)
    return [*(tokenizer.token(index) for index in tokenizer.config.eos), *source.prompt.options.stop]


def write_ollama(source: Source, folder: Path) -> None:
    """The Modelfile, the model that it names, and the prompt for whoever wants it apart."""
    model = _write_model(source, folder)
    write_prompt(source, folder)
    (folder / FILE).write_bytes(modelfile(source, model).encode())  # as it is: an end of line is part of a text


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
    lines += [f"SYSTEM {_MARKS}{turn['content']}{_MARKS}" for turn in chat if turn["role"] == "system"]
    lines += [f"MESSAGE {turn['role']} {_MARKS}{turn['content']}{_MARKS}" for turn in chat if turn["role"] != "system"]
    values = [("temperature", f"{options.temperature}"), ("seed", str(options.seed))]
    values += [("repeat_penalty", "1"), ("num_predict", str(options.max_tokens))]
    values += [("num_ctx", str(_window(source)))]
    values += [("stop", f"{_MARKS}{stop}{_MARKS}") for stop in _stops(source)]
    lines += [f"PARAMETER {name} {value}" for name, value in values]
    return "\n".join(lines) + "\n"


def _window(source: Source) -> int:
    """Tokens to make room for: a power of two that holds the longest held-out prompt and its answer.

    Ollama sets the memory for all of it aside, and the whole window of a large model can take more than the model.
    """
    tokenizer = tokenizer_of(source)
    most = max(len(tokenizer.prompt(source.prompt.messages(row.input)[0])) for row in source.record.holdout)
    needed = max(LEAST_WINDOW, most + 1 + source.prompt.options.max_tokens)
    return min(1 << (needed - 1).bit_length(), tokenizer.config.window)


# ---------------------------------------------------------------- the grammar


_LINE = re.compile(r'(?:(MESSAGE|PARAMETER) (\w+)|([A-Z]+)) (?:"""(.*?)"""|([^"\r\n][^\r\n]*))(?:\r?\n|\Z)', re.DOTALL)
_ROLES = ("system", "user", "assistant")


def read_modelfile(folder: Path) -> list[tuple[str, str]]:
    """The Modelfile of an export, parsed. InputError."""
    return parse((folder / FILE).read_bytes().decode())


def parse(text: str) -> list[tuple[str, str]]:
    """(instruction, argument) of each line as Ollama takes it: texts without their marks, and without what it drops.

    InputError for what is no Modelfile. Ollama's own: https://github.com/ollama/ollama/blob/main/parser/parser.go
    """
    found, rest, line = [], text, 1
    while rest:
        head, _, _ = rest.partition("\n")
        if not head.strip() or head.startswith("#"):
            rest, line = rest[len(head) + 1 :], line + 1
            continue
        match = _LINE.match(rest)
        name, of = (match[1] or match[3], match[2]) if match else ("", None)
        if match is None or name not in INSTRUCTIONS or (of is None) == (name in ("MESSAGE", "PARAMETER")):
            raise InputError("this is no line of a Modelfile", where=f"{FILE}:{line}")
        if name == "MESSAGE" and of not in _ROLES:
            raise InputError(f"a message has no role {of!r}", where=f"{FILE}:{line}")
        words = "".join(filter(_kept, match[4] if match[4] is not None else match[5]))
        found.append((name, words if of is None else f"{of} {words}"))
        rest, line = rest[match.end() :], line + match[0].count("\n")
    if sum(name == "FROM" for name, _ in found) != 1:
        raise InputError("a Modelfile names one model in FROM", where=FILE)
    return found
