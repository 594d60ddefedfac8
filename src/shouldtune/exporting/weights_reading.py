"""Exported weights read back from the files alone: by transformers and peft where they are installed, else by the
tool's own engine."""

from __future__ import annotations

import asyncio
import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from shouldtune.errors import ModelUnavailable
from shouldtune.exporting.asking import Chat, Request
from shouldtune.exporting.parity import Readback, Rendered
from shouldtune.exporting.prompt_files import read_options, run_prompt, run_request
from shouldtune.exporting.reading import messages_of, render
from shouldtune.exporting.source import Source
from shouldtune.exporting.weights import ADAPTER, base_folder
from shouldtune.models.chat_tokenizer import template_of
from shouldtune.models.engine import COMPUTE
from shouldtune.types import Completion, Options

AT_ONCE = 8


@dataclass(frozen=True)
class Written:
    """Where the parts of an export lie."""

    top: Path
    """prompt.py and prompt.json."""
    model: Path
    adapter: Path | None
    tokenizer: Path
    template: Path | None = None
    """The folder of a chat template that is used in place of the tokenizer's own, as a server is told."""


def read_peft_back(source: Source, folder: Path) -> Readback:
    return _reader(source, Written(folder, base_folder(source, folder), folder, folder), _engine_of(source))


def read_merged_back(source: Source, folder: Path) -> Readback:
    return _reader(source, Written(folder, folder, None, folder), "torch-fp32")


def read_vllm_back(source: Source, folder: Path) -> Readback:
    adapter = folder / ADAPTER if source.adapter is not None else None
    model = base_folder(source, folder)
    return _reader(
        source, Written(folder, model, adapter, model, folder), _engine_of(source), "; vLLM itself was not run"
    )


def _engine_of(source: Source) -> str:
    return source.local.identity.engine.name


def _reader(source: Source, written: Written, engine: str, more: str = "") -> Readback:
    """Transformers, unless it is not there or cannot hold an answer to its form."""
    options = source.prompt.options
    formed = options.schema is not None or (options.choices and not options.choice_logprobs)
    needed = ("transformers", *(("peft",) if written.adapter else ()))
    if formed or any(importlib.util.find_spec(name) is None for name in needed):
        return EngineReadback(written, engine, f"this tool's own engine ({engine}), from the written files{more}")
    return TransformersReadback(written, more)


@dataclass(frozen=True)
class EngineReadback:
    """The written files in the tool's own engine, opened anew."""

    written: Written
    engine: str
    through: str

    def chats(self, inputs: Sequence[str]) -> list[Chat]:
        return run_prompt(self.written.top, inputs)

    def request(self) -> Request:
        return run_request(self.written.top)

    def rendered(self, chats: Sequence[Chat]) -> list[Rendered] | None:
        from shouldtune.models.chat_tokenizer import ChatTokenizer

        each = self.written
        return render(ChatTokenizer(each.model, each.tokenizer, each.template), chats)

    async def answers(self, chats: Sequence[Chat]) -> list[Completion]:
        from shouldtune.models.local import open_local

        model, options = open_local(f"hf:{self.written.model}", self.engine), read_options(self.written.top)
        if self.written.adapter is not None:
            model = model.with_adapter(self.written.adapter)
        return list(await asyncio.gather(*(model.complete(messages_of(chat), options) for chat in chats)))


@dataclass(frozen=True)
class TransformersReadback:
    """The written files in transformers, as their README says to open them."""

    written: Written
    more: str = ""

    @property
    def through(self) -> str:
        from importlib.metadata import version

        peft = f" and peft {version('peft')}" if self.written.adapter else ""
        return f"transformers {version('transformers')}{peft}, from the written files{self.more}"

    def chats(self, inputs: Sequence[str]) -> list[Chat]:
        return run_prompt(self.written.top, inputs)

    def request(self) -> Request:
        return run_request(self.written.top)

    def rendered(self, chats: Sequence[Chat]) -> list[Rendered] | None:
        try:
            template = self.written.template and template_of(self.written.template)
            texts = [
                self._tokenizer.apply_chat_template(
                    chat, chat_template=template, tokenize=False, add_generation_prompt=True
                )
                for chat in chats
            ]
            return [Rendered(text, tuple(self._ids(text))) for text in texts]
        except Exception as error:  # a tokenizer or a template that cannot be used, whatever is raised
            raise ModelUnavailable(f"{type(error).__name__}: {error}", where=self.written.tokenizer) from None

    async def answers(self, chats: Sequence[Chat]) -> list[Completion]:
        return await asyncio.get_running_loop().run_in_executor(COMPUTE, self._answer, chats)

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.written.tokenizer, local_files_only=True)

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False).input_ids)

    def _open(self) -> Any:
        """In the precision that the files say."""
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # what is told of an export is told by us
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        model: Any = AutoModelForCausalLM.from_pretrained(
            self.written.model, dtype="auto", local_files_only=True, use_safetensors=True
        )
        if self.written.adapter is not None:
            from peft import PeftModel

            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of the two libraries to each other
                model = PeftModel.from_pretrained(model, str(self.written.adapter))
        return model.eval()

    def _answer(self, chats: Sequence[Chat]) -> list[Completion]:
        options, prompts = read_options(self.written.top), self.rendered(chats) or []
        try:
            model = self._open()
            if options.choices:
                return [self._chosen(model, each.ids, options) for each in prompts]
            made: list[Completion] = []
            for first in range(0, len(prompts), AT_ONCE):
                made += self._generated(model, [each.ids for each in prompts[first : first + AT_ONCE]], options)
        except Exception as error:  # an export that cannot be opened or run has failed, whatever is raised
            why = f"{type(error).__name__}: {error}"
            return [Completion("", finish_reason="error", error=why) for _ in chats]
        return made

    def _generated(self, model: Any, prompts: Sequence[Sequence[int]], options: Options) -> list[Completion]:
        """Greedy answers of one batch, padded on the left."""
        import torch

        width, pad = max(map(len, prompts)), self._tokenizer.eos_token_id or 0
        ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in prompts])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts])
        with torch.inference_mode():
            whole = model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=options.max_tokens,
                do_sample=False,
                pad_token_id=pad,
            )
        answers = self._tokenizer.batch_decode(whole[:, width:], skip_special_tokens=True)
        return [Completion(_cut(text, options.stop), engine="transformers") for text in answers]

    def _chosen(self, model: Any, prompt: Sequence[int], options: Options) -> Completion:
        """The likeliest label, scored where labels part, as the run scored it (models/label_trie.py)."""
        import torch

        ended = [(*self._ids(label), self._tokenizer.eos_token_id) for label in options.choices]
        children: dict[tuple[int, ...], set[int]] = {}
        for ids in ended:
            for depth, token in enumerate(ids):
                children.setdefault(ids[:depth], set()).add(token)
        longest = max(map(len, ended))
        rows = [[*prompt, *ids, *[0] * (longest - len(ids))] for ids in ended]  # causal: what follows changes nothing
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor(rows)).logits[:, len(prompt) - 1 :].float()
        scores = []
        for row, ids in enumerate(ended):
            score = 0.0
            for depth, token in enumerate(ids):
                among = sorted(children[ids[:depth]])
                if len(among) > 1:
                    score += float(logits[row, depth, among].log_softmax(-1)[among.index(token)])
            scores.append(score)
        return Completion(options.choices[scores.index(max(scores))], engine="transformers")


def _cut(text: str, stops: Sequence[str]) -> str:
    for stop in stops:
        text = text.partition(stop)[0]
    return text
