"""Ollama: a Modelfile that carries model, adapter, chat template and prompt, and is read back by its grammar.

Grammar: https://docs.ollama.com/modelfile. Every text stands between three quotation marks, where nothing is escaped.
Ollama puts SYSTEM first, then the MESSAGEs, then what is asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shouldtune.errors import InputError
from shouldtune.exporting.folder import copy
from shouldtune.exporting.parity import Readback, Rendered
from shouldtune.exporting.prompt_files import Chat, before, write_prompt
from shouldtune.exporting.searching import refuse_searches
from shouldtune.exporting.source import Source
from shouldtune.exporting.weights import ADAPTER, gguf_of, refuse_elsewhere, write_adapter
from shouldtune.models.gguf_cache import sha256_of
from shouldtune.types import Completion, Message

if TYPE_CHECKING:
    from shouldtune.models.chat_tokenizer import ChatTokenizer

FILE, MODEL = "Modelfile", "base.gguf"
INSTRUCTIONS = ("FROM", "PARAMETER", "TEMPLATE", "SYSTEM", "ADAPTER", "LICENSE", "MESSAGE")
_MARKS = '"""'


@dataclass(frozen=True)
class Turns:
    """What a chat template puts around each role's words."""

    system: tuple[str, str]
    user: tuple[str, str]
    assistant: tuple[str, str]
    answer: str
    """What stands before the answer."""
    usual: str | None
    """The system message that the template itself adds where a chat has none."""

    def render(self, chat: Chat) -> str:
        parts = []
        for turn in chat:
            first, last = getattr(self, turn["role"])
            parts.append(first + turn["content"] + last)
        return "".join(parts) + self.answer

    def go(self) -> str:
        """The same as Go's text/template."""
        blocks = [
            f"{test}{first}{{{{ .Content }}}}{last}"
            for test, (first, last) in (
                ('{{ if eq .Role "system" }}', self.system),
                ('{{ else if eq .Role "user" }}', self.user),
                ("{{ else }}", self.assistant),
            )
        ]
        return "{{ range .Messages }}" + "".join(blocks) + "{{ end }}{{ end }}" + self.answer


_GO = re.compile(
    r'\{\{ range \.Messages \}\}\{\{ if eq \.Role "system" \}\}(.*?)\{\{ \.Content \}\}(.*?)'
    r'\{\{ else if eq \.Role "user" \}\}(.*?)\{\{ \.Content \}\}(.*?)'
    r"\{\{ else \}\}(.*?)\{\{ \.Content \}\}(.*?)\{\{ end \}\}\{\{ end \}\}(.*)",
    re.DOTALL,
)


def turns_of(tokenizer: ChatTokenizer) -> Turns | None:
    """A chat template taken apart by what it makes of marked words; None where it is no row of turns."""

    def render(*turns: Message, for_answer: bool = False) -> str:
        return tokenizer.render(turns, for_answer=for_answer)

    system, user, answer, again = (
        Message("system", "SYS9"),
        Message("user", "USR9"),
        Message("assistant", "ANS9"),
        Message("user", "AGN9"),
    )
    whole = render(system, user, answer, again)
    found = re.fullmatch("(.*)SYS9(.*)USR9(.*)ANS9(.*)AGN9(.*)", whole, re.DOTALL)
    asked = render(user, for_answer=True)
    if found is None or "USR9" not in asked:
        return None
    start, to_user, to_answer, to_again, after = found.groups()
    sizes = range(min(len(to_user), len(to_again)), -1, -1)
    shared = next(size for size in sizes if to_user.endswith(to_again[len(to_again) - size :]))
    if to_user[len(to_user) - shared :].startswith(after):  # what ends every turn begins none
        shared -= len(after)
    into_user = to_user[len(to_user) - shared :]
    first, _, last = asked.partition("USR9")
    if not to_answer.startswith(after) or not last.startswith(after):
        return None
    usual = None
    if first != into_user:
        if not (first.startswith(start) and first.endswith(to_user)):
            return None
        usual = first[len(start) : len(first) - len(to_user)]
    return Turns(
        (start, to_user[: len(to_user) - shared]),
        (into_user, after),
        (to_answer[len(after) :], to_again[: len(to_again) - shared]),
        last[len(after) :],
        usual,
    )


def _turns(source: Source) -> Turns:
    from shouldtune.models.chat_tokenizer import ChatTokenizer

    turns = turns_of(ChatTokenizer(source.local.identity.folder))
    if turns is None or any("{{" in text for text in (*turns.system, *turns.user, *turns.assistant, turns.answer)):
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
    """Modelfile, the model's GGUF, the adapter, and the prompt for whoever wants it apart."""
    gguf = gguf_of(source)
    if gguf is not None:
        copy(gguf, folder / MODEL)
        if sha256_of(folder / MODEL) != source.local.identity.revision:
            raise InputError("the GGUF file is not the one that the run used", where=gguf)
    if source.adapter is not None:
        write_adapter(source, folder / ADAPTER)
    write_prompt(source, folder)
    model = f"./{MODEL}" if gguf is not None else str(source.local.identity.folder)
    (folder / FILE).write_text(modelfile(source, model), encoding="utf-8")


def modelfile(source: Source, model: str) -> str:
    """The Modelfile's text."""
    turns, chat, options = _turns(source), before(source.prompt), source.prompt.options
    lines = [f"FROM {model}"]
    if source.adapter is not None:
        lines.append(f"ADAPTER ./{ADAPTER}")
    lines.append(f"TEMPLATE {_MARKS}{turns.go()}{_MARKS}")
    system = next((turn["content"] for turn in chat if turn["role"] == "system"), turns.usual)
    if system is not None:
        lines.append(f"SYSTEM {_MARKS}{system}{_MARKS}")
    lines += [f"MESSAGE {turn['role']} {_MARKS}{turn['content']}{_MARKS}" for turn in chat if turn["role"] != "system"]
    tokenizer = _tokenizer(source)
    ends = [tokenizer.token(index) for index in tokenizer.config.eos]
    values = [("temperature", f"{options.temperature:g}"), ("seed", str(options.seed))]
    values += [("repeat_penalty", "1"), ("num_predict", str(options.max_tokens))]
    values += [("num_ctx", str(tokenizer.config.window))]
    values += [("stop", json.dumps(stop, ensure_ascii=False)) for stop in (*ends, *options.stop)]
    lines += [f"PARAMETER {name} {value}" for name, value in values]
    return "\n".join(lines) + "\n"


def _tokenizer(source: Source) -> ChatTokenizer:
    from shouldtune.models.chat_tokenizer import ChatTokenizer

    return ChatTokenizer(source.local.identity.folder)


# ---------------------------------------------------------------- read back


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


def read_ollama_back(source: Source, folder: Path) -> Readback:
    """The Modelfile's own prompt and template; answers from the written adapter, for Ollama itself is not run."""
    from shouldtune.exporting.reading import PromptReadback

    model = source.local
    if source.adapter is not None:
        model = model.with_adapter(folder / ADAPTER)
    return OllamaReadback(folder, PromptReadback(folder, model, ""), _tokenizer(source))


@dataclass(frozen=True)
class OllamaReadback:
    """What Ollama would send, answered by this tool's engine."""

    folder: Path
    asks: Readback
    tokenizer: ChatTokenizer
    through: str = "the Modelfile read back, its adapter in this tool's own engine; Ollama itself was not run"

    def chats(self, inputs: Sequence[str]) -> list[Chat]:
        told = parse((self.folder / FILE).read_text(encoding="utf-8"))
        chat = [{"role": "system", "content": text} for name, text in told if name == "SYSTEM"]
        for name, text in told:
            if name == "MESSAGE":
                role, _, content = text.partition(" ")
                chat.append({"role": role, "content": content})
        return [[*chat, {"role": "user", "content": text}] for text in inputs]

    def rendered(self, chats: Sequence[Chat]) -> list[Rendered] | None:
        told = dict(parse((self.folder / FILE).read_text(encoding="utf-8")))
        match = _GO.fullmatch(told["TEMPLATE"])
        if match is None:
            raise InputError("the template is not one that this tool wrote", where=self.folder / FILE)
        s, t, u, v, a, b, answer = match.groups()
        turns = Turns((s, t), (u, v), (a, b), answer, None)
        texts = [turns.render(chat) for chat in chats]
        return [Rendered(text, tuple(self.tokenizer.encode(text))) for text in texts]

    async def answers(self, chats: Sequence[Chat]) -> list[Completion]:
        return await self.asks.answers(chats)
