"""Answers handed out while they are made: what may be said already, who waits for whom, and who has left."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from shouldtune.models.local import LocalModel, open_local
from shouldtune.models.plain import Echo
from shouldtune.models.prompted import NearestPassages, Prompted
from shouldtune.models.streaming import Spoken, Streaming, stream
from shouldtune.retrieval.chunks import Passage
from shouldtune.types import Completion, Message, Model, Options
from tests.serving_world import Words
from tests.tiny_llama import write_tiny_gguf


def heard(model: Model, text: str, options: Options = Options()) -> tuple[list[str], Completion]:
    """(pieces, the whole) of one answer."""

    async def go() -> list[str | Completion]:
        async with aclosing(stream(model, [Message("user", text)], options)) as pieces:
            return [piece async for piece in pieces]

    *pieces, whole = asyncio.run(go())
    assert isinstance(whole, Completion)
    return [str(piece) for piece in pieces], whole


def spoken(texts: Sequence[bytes], stop: Sequence[str] = ()) -> list[str]:
    """What can be said after each of the tokens, which stand for these bytes."""
    speaking = Spoken(lambda ids: b"".join(texts[i] for i in ids).decode("utf-8", "replace"), stop)
    return [speaking.hear(token) for token in range(len(texts))]


# ---------------------------------------------------------------- what may be said


def test_half_a_character_is_not_said() -> None:
    smile = "😀".encode()
    assert spoken([b"a", smile[:1], smile[1:3], smile[3:], b"b"]) == ["a", "", "", "😀", "b"]


def test_the_beginning_of_a_stop_string_waits_until_it_is_none() -> None:
    assert spoken([b"one", b" EN", b"D", b" two"], ["END"]) == ["one", " ", "", ""]
    assert spoken([b"one", b" EN", b"T", b" two"], ["END"]) == ["one", " ", "ENT", " two"]
    assert spoken([b"ab", b"ab", b"c", b"x"], ["abc", "bd"]) == ["", "ab", "", ""]


def test_a_tokenizer_that_drops_the_first_space_loses_none_in_the_midst() -> None:
    words = ["one", "two", "three"]
    speaking = Spoken(lambda ids: "".join(f" {words[i]}" for i in ids).lstrip())
    assert [speaking.hear(token) for token in range(3)] == ["one", " two", " three"]


def test_a_model_that_cannot_stream_says_all_in_one_piece() -> None:
    assert heard(Echo(), "to be")[0] == ["to be"]
    assert not isinstance(Echo(), Streaming)


def test_a_prompt_streams_what_its_model_streams_and_names_its_passages() -> None:
    passages = NearestPassages((Passage("d.md", "Title", "to be"),), 1)
    pieces, whole = heard(Prompted(Words(), "Say it.", passages=passages), "to be")
    assert "".join(pieces) == whole.text
    assert len(pieces) > 2
    assert whole.passages == ("d.md",)


# ---------------------------------------------------------------- the local engine


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("torch", "gguf", "tokenizers", "safetensors", "jinja2", "llguidance"):
        pytest.importorskip(name)
    pytest.importorskip("torch").set_num_threads(1)
    folder = tmp_path_factory.mktemp("streaming")
    write_tiny_gguf(folder / "tiny.gguf")
    return folder


@pytest.fixture
def tiny(place: Path, monkeypatch: pytest.MonkeyPatch) -> LocalModel:
    monkeypatch.setenv("SHOULDTUNE_CACHE", str(place / "cache"))
    return open_local(f"gguf:{place / 'tiny.gguf'}", engine="torch-fp32")


def whole(model: Model, text: str, options: Options) -> Completion:
    return asyncio.run(model.complete([Message("user", text)], options))


@pytest.mark.parametrize("options", [Options(max_tokens=24), Options(max_tokens=24, temperature=0.9, seed=3)])
def test_the_pieces_are_the_answer_that_comes_whole(tiny: LocalModel, options: Options) -> None:
    expected = whole(tiny, "the inn", options)
    pieces, completion = heard(tiny, "the inn", options)
    assert "".join(pieces) == completion.text == expected.text
    assert len(pieces) > 2
    assert (completion.completion_tokens, completion.finish_reason) == (24, "length")
    assert completion.compute_s is None
    assert expected.compute_s is not None


def test_nothing_is_said_beyond_a_stop_string(tiny: LocalModel) -> None:
    plain = whole(tiny, "the inn", Options(max_tokens=24)).text
    stop = plain[10:12]
    pieces, completion = heard(tiny, "the inn", Options(max_tokens=24, stop=(stop,)))
    assert "".join(pieces) == completion.text == plain.partition(stop)[0]
    assert completion.finish_reason == "stop"


def test_labels_come_in_one_piece(tiny: LocalModel) -> None:
    pieces, completion = heard(tiny, "the inn", Options(choices=("red", "blue"), choice_logprobs=True))
    assert pieces == [completion.text]
    assert completion.text in ("red", "blue")


def test_what_cannot_be_answered_ends_at_once_and_says_so(tiny: LocalModel) -> None:
    pieces, completion = heard(tiny, "the inn " * 500)
    assert pieces == []
    assert completion.failure == "permanent"
    assert "does not fit the window" in str(completion.error)


def test_a_short_answer_does_not_wait_for_the_long_ones_of_its_batch(tiny: LocalModel) -> None:
    ends: list[int] = []

    async def one(tokens: int) -> None:
        async with aclosing(tiny.stream([Message("user", "the inn")], Options(max_tokens=tokens))) as pieces:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    ends.append(tokens)

    async def go() -> None:
        await asyncio.gather(one(200), one(4), one(40))

    asyncio.run(go())
    assert ends == [4, 40, 200]


def test_the_first_text_comes_before_the_last_is_made(tiny: LocalModel) -> None:
    """It is given up after the first piece, and the engine is free long before 400 tokens could be made."""
    computed: list[int] = []

    async def go() -> Completion:
        async with aclosing(tiny.stream([Message("user", "the inn")], Options(max_tokens=400))) as pieces:
            async for piece in pieces:
                assert isinstance(piece, str)
                computed.append(len(piece))
                break
        return await tiny.complete([Message("user", "another")], Options(max_tokens=2))

    assert asyncio.run(go()).error is None
    assert len(computed) == 1


def test_who_leaves_a_batch_takes_nothing_from_those_who_stay(tiny: LocalModel) -> None:
    alone = whole(tiny, "the inn", Options(max_tokens=60)).text

    async def leave() -> None:
        async with aclosing(tiny.stream([Message("user", "of the twelve")], Options(max_tokens=400))) as pieces:
            async for _ in pieces:
                return

    async def go() -> Completion:
        staying = asyncio.create_task(tiny.complete([Message("user", "the inn")], Options(max_tokens=60)))
        await asyncio.gather(leave(), leave())
        return await staying

    stayed = asyncio.run(go())
    assert (stayed.text, stayed.completion_tokens) == (alone, 60)
