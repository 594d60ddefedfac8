"""An Ollama export read back: the Modelfile by its grammar, and the very model file that it names.

Ollama itself is not run. What llama.cpp, by which it runs, makes of the file: benchmarks/servers/tuned_gguf.py.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from shouldtune.errors import InputError
from shouldtune.exporting.asking import Chat, Request, request
from shouldtune.exporting.modelfile import FILE, first_token, read_modelfile, tokenizer_of
from shouldtune.exporting.parity import Readback, Rendered
from shouldtune.exporting.prompt_files import read_options
from shouldtune.exporting.reading import messages_of
from shouldtune.exporting.source import Source
from shouldtune.exporting.turns import Turns, turns_of_go
from shouldtune.models.gguf_cache import sha256_of
from shouldtune.models.gguf_file import GgufFile
from shouldtune.models.local import LocalModel, open_local
from shouldtune.types import Completion, Options


def read_ollama_back(source: Source, folder: Path) -> Readback:
    return OllamaReadback(source, folder)


@dataclass(frozen=True)
class OllamaReadback:
    """What Ollama would send, and what the model that it would open answers to it."""

    source: Source
    folder: Path
    through: str = "the Modelfile read back, its model in this tool's own engine; Ollama itself was not run"

    def chats(self, inputs: Sequence[str]) -> list[Chat]:
        told = self._told()
        chat = [{"role": "system", "content": text} for name, text in told if name == "SYSTEM"]
        for name, text in told:
            if name == "MESSAGE":
                role, _, content = text.partition(" ")
                chat.append({"role": role, "content": content})
        return [[*chat, {"role": "user", "content": text}] for text in inputs]

    def request(self) -> Request:
        return request(self._options())

    def rendered(self, chats: Sequence[Chat]) -> list[Rendered] | None:
        turns, model = self._turns(), self._model()
        encode, first = _encoder(model), first_token(tokenizer_of(self.source), model)
        texts = [first + turns.render(chat) for chat in chats]
        return [Rendered(text, tuple(encode(text))) for text in texts]

    async def answers(self, chats: Sequence[Chat]) -> list[Completion]:
        options = self._options()
        with self._opened() as model:
            return list(await asyncio.gather(*(model.complete(messages_of(chat), options) for chat in chats)))

    def _options(self) -> Options:
        """What the Modelfile asks for; the form of answers stands in the prompt's own file, for it cannot say one."""
        told = [text.partition(" ")[::2] for name, text in self._told() if name == "PARAMETER"]
        stops = [value for name, value in told if name == "stop"][len(tokenizer_of(self.source).config.eos) :]
        one = dict(told)
        return replace(
            read_options(self.folder),
            max_tokens=int(one["num_predict"]),
            temperature=float(one["temperature"]),
            seed=int(one["seed"]),
            stop=tuple(stops),
        )

    def _told(self) -> list[tuple[str, str]]:
        return read_modelfile(self.folder)

    def _model(self) -> Path:
        return self.folder / dict(self._told())["FROM"]

    def _turns(self) -> Turns:
        turns = turns_of_go(dict(self._told())["TEMPLATE"])
        if turns is None:
            raise InputError("the template is not one that this tool wrote", where=self.folder / FILE)
        return turns

    @contextmanager
    def _opened(self) -> Iterator[LocalModel]:
        """The model of FROM; a merged one in float32, so that nothing that training changed is rounded away."""
        from shouldtune.models.gguf_convert import convert_files

        place, identity = self._model(), self.source.local.identity
        exact = replace(identity.engine, dtype="float32").name
        if place.is_dir():
            yield open_local(f"hf:{place}", identity.engine.name if self.source.adapter is None else exact)
        elif sha256_of(place) == identity.revision:
            yield LocalModel(replace(identity, adapter=None, adapter_sha256=None))
        else:
            with tempfile.TemporaryDirectory(dir=self.folder.parent, prefix=".converted.") as scratch:
                convert_files(place, Path(scratch), "float32")
                yield open_local(f"hf:{scratch}", exact)


def _encoder(model: Path) -> Callable[[str], Sequence[int]]:
    """What turns a text into tokens, by the tokenizer that lies with a model."""
    from tokenizers import Tokenizer

    from shouldtune.models.gguf_tokenizer import build_tokenizer

    tokenizer = (
        Tokenizer.from_file(str(model / "tokenizer.json")) if model.is_dir() else build_tokenizer(GgufFile(model))
    )
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids
