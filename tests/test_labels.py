"""A closed label set: all labels scored in one pass, and the choice calibrated."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shouldtune.models.calibrated import Calibrated, usual_logprobs
from shouldtune.models.open import open_fitted, save_fitted
from shouldtune.models.plain import Constant
from shouldtune.types import Completion, Message, Options
from tests.tiny_llama import write_tiny_gguf

torch = pytest.importorskip("torch")
for name in ("gguf", "tokenizers", "safetensors", "jinja2"):
    pytest.importorskip(name)

from shouldtune.models import gguf_cache  # noqa: E402
from shouldtune.models.decoding import Request  # noqa: E402
from shouldtune.models.generation import Generator  # noqa: E402
from shouldtune.models.label_trie import LabelTrie  # noqa: E402
from shouldtune.models.llama import Llama  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor

END = 2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Llama:
    place = tmp_path_factory.mktemp("labels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOULDTUNE_CACHE", str(place / "cache"))
        folder = gguf_cache.convert(write_tiny_gguf(place / "tiny.gguf"), "tiny").folder
    return Llama(folder, dtype=torch.float32)


def last_logits(model: Llama, ids: Sequence[int]) -> Tensor:
    with torch.inference_mode():
        x, rotation = model.embed(torch.tensor(ids)), model.rotation(torch.arange(len(ids)))
        for layer in range(model.config.layers):
            query, key, value = model.project(x, layer, rotation, None)
            per_head = (part.transpose(0, 1)[None] for part in (query, key, value))
            output = torch.nn.functional.scaled_dot_product_attention(*per_head, is_causal=True, enable_gqa=True)
            x = model.finish(x, output[0].transpose(0, 1).flatten(1), layer, None)
        return model.logits(x)[-1]


def by_hand(model: Llama, prompt: Sequence[int], label: Sequence[int], labels: Sequence[Sequence[int]]) -> float:
    """The label's log-probability, a token at a time, among the tokens with which some label goes on."""
    ended, total = [(*ids, END) for ids in labels], 0.0
    path = (*label, END)
    for depth, token in enumerate(path):
        allowed = sorted({ids[depth] for ids in ended if len(ids) > depth and ids[:depth] == path[:depth]})
        logits = last_logits(model, [*prompt, *path[:depth]])[allowed]
        total += float(logits.log_softmax(-1)[allowed.index(token)])
    return total


LABELS = ((10, 11, 12), (10, 11, 13, 14), (10, 11), (20,), (30, 31, 32, 33), (30, 31, 32, 34))


def test_the_tree_holds_no_token_that_decides_nothing() -> None:
    trie = LabelTrie.of(LABELS, END)
    # 10 11 branches into 12, 13 and the end; 30 31 32 into 33 and 34; nothing below is needed.
    assert sorted(trie.tokens) == [10, 11, 30, 31, 32]
    assert len(trie.turns) == 3 + 3 + 2
    assert trie.depths == tuple(1 + {10: 0, 30: 0, 11: 1, 31: 1, 32: 2}[token] for token in trie.tokens)
    assert [len(path) for path in trie.paths] == [2, 2, 2, 1, 2, 2]


def test_scores_equal_those_of_a_token_at_a_time(model: Llama) -> None:
    draw = random.Random(1)
    shared = [draw.randrange(3, 260) for _ in range(20)]
    prompts = [[*shared, *(draw.randrange(3, 260) for _ in range(length))] for length in (3, 9, 1, 6)]
    trie = LabelTrie.of(LABELS, END)
    for asked in (prompts, [prompt[20:] for prompt in prompts]):  # with a shared prefix and without
        generator = Generator(model, lambda ids: "")
        answers = generator.generate([Request(ids, 8, labels=trie) for ids in asked])
        for ids, answer in zip(asked, answers, strict=True):
            expected = [by_hand(model, ids, label, LABELS) for label in LABELS]
            assert answer.label_scores == pytest.approx(expected, abs=1e-4)
            assert answer.ids == LABELS[max(range(6), key=expected.__getitem__)]
            assert sum(torch.tensor(answer.label_scores).exp()).item() == pytest.approx(1.0, abs=1e-5)


def test_a_batch_may_hold_labels_and_free_answers(model: Llama) -> None:
    generator = Generator(model, lambda ids: "")
    ids = [9, 8, 7, 6]
    trie = LabelTrie.of(LABELS, END)
    alone = [generator.generate([request])[0] for request in (Request(ids, 5), Request(ids, 5, labels=trie))]
    free, chosen = generator.generate([Request(ids, 5), Request(ids, 5, labels=trie)])
    assert free.ids == alone[0].ids
    assert chosen.label_scores == pytest.approx(alone[1].label_scores, abs=1e-5)


@dataclass(frozen=True)
class Leaning:
    """Finds `b` a little likelier than usual where the input says so, and `a` likely whatever is asked."""

    failing: bool = False

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        if self.failing:
            return Completion("", error="down", finish_reason="error")
        hint = "b" in messages[-1].content
        return Completion("a", choice_logprobs=(-0.2 if hint else -0.1, -1.8 if hint else -2.4))

    def spec(self) -> dict[str, object]:
        return {"kind": "leaning"}


def choose(model: Calibrated, text: str) -> Completion:
    return asyncio.run(model.complete([Message("user", text)]))


def test_what_a_label_has_in_any_case_is_taken_out() -> None:
    usual = asyncio.run(usual_logprobs(Leaning(), ["x", "b", "y", "b"]))
    assert usual == pytest.approx((-0.15, -2.1))
    calibrated = Calibrated(Leaning(), ("a", "b"), usual)
    assert [choose(calibrated, text).text for text in ("x", "b")] == ["a", "b"]


def test_a_failed_call_stays_one_and_a_model_without_log_probabilities_answers_itself() -> None:
    assert choose(Calibrated(Leaning(failing=True), ("a", "b"), (0.0, 0.0)), "b").error == "down"
    assert choose(Calibrated(Constant("a"), ("a", "b"), (0.0, 0.0)), "b").text == "a"
    assert asyncio.run(usual_logprobs(Constant("a"), ["x"])) == ()


def test_a_calibrated_model_is_saved_and_opened(tmp_path: Path) -> None:
    model = Calibrated(Constant("a"), ("a", "b"), (-0.5, -1.5))
    save_fitted(model, tmp_path)
    assert open_fitted(tmp_path) == replace(model)
