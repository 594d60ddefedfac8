"""Passages, ways to search them, what training questions teach, and how a way is chosen."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shouldtune.models.open import open_fitted, save_fitted
from shouldtune.models.plain import Echo
from shouldtune.models.prompted import NearestPassages, Prompted
from shouldtune.retrieval import kept, search
from shouldtune.retrieval.bm25 import Bm25
from shouldtune.retrieval.chunks import Passage, passages, same_place
from shouldtune.retrieval.gold import RightPlaces
from shouldtune.retrieval.hits import hit_rate, mean_reciprocal_rank, rank
from shouldtune.retrieval.minilm import minilm, minilm_folder
from shouldtune.retrieval.prose import prose
from shouldtune.retrieval.search import Way, fused, search_of, ways_at_hand
from shouldtune.rungs.choosing import parted
from shouldtune.rungs.retrieving import ChosenRetriever, chosen_retriever
from shouldtune.scorers.text import exact
from shouldtune.types import Document, Example, Message, Task

needs_minilm = pytest.mark.skipif(minilm_folder() is None, reason="the encoder is not installed (extra [dense])")
TAUGHT = [way for way in ways_at_hand(taught=True) if way.teaching != "none"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOULDTUNE_CACHE", str(tmp_path / "cache"))


# ---------------------------------------------------------------- passages know their place


def test_every_passage_is_found_at_its_place_in_its_document() -> None:
    paragraphs = [" ".join(f"w{p}x{i}" for i in range(20 + 17 * p % 60)) + "  \n tail" for p in range(30)]
    document = Document("d", "t", "\n\n".join(paragraphs), {"pages": [0, 900, 2000], "source": "book.pdf"})
    cut = passages([document], words=50, overlap=10)
    assert len(cut) > 10
    for passage in cut:
        assert document.text[passage.start : passage.end].split() == passage.text.split()
    assert {word for passage in cut for word in passage.text.split()} == set(document.text.split())
    assert [passage.page for passage in cut] == sorted(1 + (p.start >= 900) + (p.start >= 2000) for p in cut)
    assert cut[-1].cited == "book.pdf, page 3"


def test_a_passage_cut_otherwise_is_the_same_place_where_most_of_it_is_shared() -> None:
    one = Passage("d", "t", "long", start=0, end=100)
    assert same_place(one, Passage("d", "t", "short", start=60, end=90))
    assert not same_place(one, Passage("d", "t", "next", start=80, end=180))
    assert not same_place(one, Passage("e", "t", "long", start=0, end=100))


def test_a_fitted_rung_of_an_older_release_still_opens(tmp_path: Path) -> None:
    plain = {"k": 1, "passages": [["a", "Refunds", "Money back."], ["b", "Hours", "Open at nine."]]}
    prompt = Prompted(Echo(), passages=NearestPassages.from_spec(plain))
    assert prompt.passages is not None
    assert prompt.passages.find("when are you open")[0].document_id == "b"


def test_an_answer_says_which_documents_and_pages_stood_in_its_prompt() -> None:
    document = Document("m.pdf", "Manual", "Press red.\n\nThen wait for the lamp.", {"pages": [0, 12]})
    prompt = Prompted(Echo(), passages=NearestPassages(passages([document], words=3, overlap=0), 1))
    answer = asyncio.run(prompt.complete([Message("user", "the lamp")]))
    assert answer.passages == ("m.pdf",)
    assert answer.cited == ("m.pdf, page 2",)


# ---------------------------------------------------------------- how good a search is


def test_hit_rate_and_reciprocal_rank_of_known_rankings() -> None:
    rankings = [((3, 1, 2), {1}), ((5, 6, 7), {5, 9}), ((1, 2, 3), {8})]
    assert [rank(*each) for each in rankings] == [2, 1, None]
    assert hit_rate(rankings, 1) == pytest.approx(1 / 3)
    assert hit_rate(rankings, 2) == pytest.approx(2 / 3)
    assert mean_reciprocal_rank(rankings) == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert hit_rate([], 1) is None
    assert mean_reciprocal_rank([]) is None


def test_fusion_adds_reciprocal_ranks_equal_scores_share_one_and_the_lowest_say_nothing() -> None:
    found = fused([np.array([3.0, 2.0, 2.0, 0.0], np.float32), np.array([0.0, 0.0, 5.0, 0.0], np.float32)])
    assert found == pytest.approx([1 / 61, 1 / 62, 1 / 62 + 1 / 61, 0.0])


def test_the_score_of_a_text_is_the_one_that_the_index_gives_it() -> None:
    texts = [f"the {a} fox {b} jumps over {a} fences" for a in ("red", "blue", "old") for b in ("high", "low low", "")]
    index = Bm25(texts)
    for query in ("red fox low", "blue blue fences", "unknown"):
        assert index.scores(query) == pytest.approx([index.score_of(query, text) for text in texts], rel=1e-5)
    assert [int(i) for i in np.argsort(-index.scores("old low"), kind="stable")[:2]] == index.search("old low", 2)


def test_an_answer_found_in_few_passages_or_as_their_call_tells_the_right_one() -> None:
    documents = [Document(f"d{i}", "", f"Fact {i} is number{i}.", {"api_call": f"load({i})"}) for i in range(12)]
    finder = RightPlaces(documents, passages(documents))
    assert finder.of(Example("1", "?", "x", meta={"gold_doc_ids": ["d3", "d5", "gone"]})) == (3, 5)
    assert finder.of(Example("2", "?", "number7")) == (7,)
    assert finder.of(Example("3", "?", "load(4)")) == (4,)
    assert finder.of(Example("4", "?", "is")) == ()  # too short
    assert finder.of(Example("5", "?", "fact")) == ()  # in too many
    assert finder.of(Example("6", "?", "number7"), seek=False) == ()


# ---------------------------------------------------------------- what training questions teach

TEXTS = ("Alpha\nengines and wheels", "Beta\nboats on rivers", "Gamma\nbirds that sing")
QUESTIONS = (("how do I quibble", "zork the frob"), ("where is my plumbus",), ())


@pytest.mark.parametrize("way", TAUGHT, ids=str)
def test_a_question_like_one_that_was_taught_finds_its_passage_and_a_hidden_one_teaches_nothing(way: Way) -> None:
    taught = search_of(TEXTS, QUESTIONS, way)
    assert taught.search("plumbus, where is it", 1) == [1]
    assert taught.search("quibble how", 1) == [0]
    without = search_of(TEXTS, (QUESTIONS[0], (), ()), way)
    asked = "where is my plumbus"
    if "static" not in way.mode:  # latent directions themselves are learnt from all the words at hand
        assert taught.search(asked, 3, hidden=[asked]) == without.search(asked, 3)


@pytest.mark.parametrize("mode", sorted({way.mode for way in TAUGHT}))
def test_without_teaching_questions_change_nothing(mode: str) -> None:
    way = next(way for way in ways_at_hand(taught=False) if way.mode == mode)
    for asked in ("birds", "plumbus", "boats and engines"):
        plain = search_of(TEXTS, ((), (), ()), way).search(asked, 3)
        assert search_of(TEXTS, QUESTIONS, way).search(asked, 3) == plain


def test_a_taught_retriever_is_saved_and_opened_again(tmp_path: Path) -> None:
    documents = [Document(f"d{i}", *text.split("\n")) for i, text in enumerate(TEXTS)]
    nearest = NearestPassages(passages(documents), 2, Way("bm25+static", "voted"), QUESTIONS)
    save_fitted(Prompted(Echo(), passages=nearest), tmp_path)
    opened = open_fitted(tmp_path)
    assert isinstance(opened, Prompted)
    assert opened.passages == nearest


def test_prose_of_a_record_leaves_out_code_lists_and_addresses() -> None:
    record = {"name": "resnet", "call": "hub.load('x')", "needs": ["torch"], "about": "Sorts images (of cats) by kind."}
    assert prose(f"Title\n{json.dumps(record)}") == "Title. resnet. Sorts images (of cats) by kind."
    for text in ("Title\nplain words", 'Title\n{"broken": ', 'Title\n{"call": "f(x)"}', "{}"):
        assert prose(text) == text


# ---------------------------------------------------------------- vectors


@needs_minilm
def test_the_encoder_gives_the_vectors_of_the_reference() -> None:
    import torch
    from transformers import AutoTokenizer, BertModel

    folder = minilm_folder()
    assert folder is not None
    texts = ["A refund was promised.", "short", "many words " * 200, "naïve Ünïcode 漢字"]
    model = BertModel.from_pretrained(folder).eval()
    inputs = AutoTokenizer.from_pretrained(folder)(
        texts, padding=True, truncation=True, max_length=256, return_tensors="pt"
    )
    with torch.inference_mode():
        states = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1)
    mean = (states * mask).sum(1) / mask.sum(1)
    expected = torch.nn.functional.normalize(mean, dim=-1).numpy()
    assert np.abs(minilm().encode(texts) - expected).max() < 1e-5
    assert np.abs(minilm().encode_one(texts[0]) - expected[0]).max() < 1e-5


@needs_minilm
def test_no_thread_that_computed_vectors_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would hold a team of OpenMP's, beside that of the thread that trains."""
    from shouldtune.retrieval.bert import Bert

    used: list[threading.Thread] = []
    encode = Bert.encode

    def noted(self: Bert, rows: list[list[int]]) -> Any:
        used.append(threading.current_thread())
        return encode(self, rows)

    monkeypatch.setattr(Bert, "encode", noted)
    minilm().encode_one("which thread reads this?")
    assert len(used) == 1
    assert used[0] is not threading.current_thread()
    assert not used[0].is_alive()


@needs_minilm
def test_dense_search_finds_what_shares_no_word() -> None:
    texts = ("Opening hours\nThe shop is open from nine to five.", "Refunds\nYou are reimbursed within a month.")
    asked = "How do I get my money back?"
    assert search_of(texts, ((), ()), Way("dense")).search(asked, 1) == [1]


def test_only_texts_that_changed_are_encoded_again_and_a_broken_file_is_made_anew(tmp_path: Path) -> None:
    encoded: list[str] = []

    def encode(texts: Sequence[str]) -> np.ndarray:
        encoded.extend(texts)
        return np.array([[len(text), sum(map(ord, text))] for text in texts], np.float32)

    texts = [f"text {i}" for i in range(50)]
    first = kept.kept_vectors("e", [*texts, texts[0]], encode)
    assert encoded == texts
    assert (first[-1] == first[0]).all()
    again = kept.kept_vectors("e", ["new", *texts], encode)
    assert encoded == [*texts, "new"]
    assert (again[1:] == first[:-1]).all()
    kept.kept_vectors("other encoder", texts[:1], encode)
    assert encoded[-1] == texts[0]
    files = sorted((tmp_path / "cache" / "vectors" / "e").iterdir())
    for file in files:
        file.write_bytes(file.read_bytes()[:-40])
    del encoded[:]
    assert (kept.kept_vectors("e", texts, encode) == first[:-1]).all()
    assert sorted(encoded) == sorted(texts)


def test_where_nothing_can_be_written_vectors_are_made_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SHOULDTUNE_CACHE", str(tmp_path / "file"))
    found = kept.kept_vectors("e", ["a"], lambda texts: np.ones((len(texts), 3), np.float32))
    assert found.shape == (1, 3)


# ---------------------------------------------------------------- choosing


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the encoder: quicker."""
    monkeypatch.setattr(search, "minilm_folder", lambda: None)


def choose(documents: Sequence[Document], rows: Sequence[Example]) -> ChosenRetriever:
    task = Task("t", "", tuple(rows), exact, tuple(documents))
    return asyncio.run(chosen_retriever(task, *parted(task)))


LETTERS = str.maketrans("0123456789abcdef", "qwzxcvbnmjklpfgh")


def world(rows: int, jargon: int) -> tuple[list[Document], list[Example]]:
    """Ten documents whose own words no question uses; each question uses one of its document's `jargon` words.

    With none, it uses a word that no other question has, so that others can teach nothing about it.
    """
    documents = [Document(f"d{i}", f"Part {i}", f"entry number {i} of the catalogue") for i in range(10)]
    draw = np.random.default_rng(0)
    examples = []
    for row in range(rows):
        i = int(draw.integers(10))
        word = f"jargon{i}x{int(draw.integers(jargon))}" if jargon else f"{draw.integers(26**6):x}".translate(LETTERS)
        examples.append(Example(f"r{row}", f"please {word} me", f"a{row}", meta={"gold_doc_ids": [f"d{i}"]}))
    return documents, examples


def test_where_training_questions_hold_the_words_that_documents_lack_they_are_learnt_from() -> None:
    documents, rows = world(160, 2)
    chosen = choose(documents, rows)
    assert chosen.way.teaching != "none"
    by_setting = {trial.setting.split(" (")[0]: trial for trial in chosen.trials}
    assert (by_setting["bm25"].found or 0) < 0.5
    taught = by_setting[str(chosen.way)]
    assert (taught.found or 0) > 0.95
    assert taught.score is None  # nothing was answered, and nothing may take it for a score
    final = chosen.nearest(1, rows)
    assert final.find("jargon7x1")[0].document_id == "d7"


@pytest.mark.usefixtures("light")
def test_no_row_is_found_by_its_own_question_while_ways_are_measured() -> None:
    documents, rows = world(120, 0)
    chosen = choose(documents, rows)
    assert all((trial.found or 0) < 0.6 for trial in chosen.trials)
    assert all((trial.found or 0) > 0.1 for trial in chosen.trials)


@pytest.mark.usefixtures("light")
def test_where_no_right_passage_is_known_it_stays_with_bm25_and_says_why() -> None:
    documents, rows = world(160, 2)
    chosen = choose(documents, [Example(row.id, row.input, row.target) for row in rows])
    assert (chosen.way, chosen.trials) == (Way(), ())
    assert "too few" in chosen.notes[0]
    assert chosen.nearest(3, rows).questions == ()


@pytest.mark.usefixtures("light")
def test_where_bm25_finds_nearly_everything_nothing_dearer_is_tried() -> None:
    documents = [Document(f"d{i}", f"Topic{i}", f"about topic{i}") for i in range(60)]
    rows = [Example(f"r{i}", f"tell me of topic{i}", "x", meta={"gold_doc_ids": [f"d{i}"]}) for i in range(60)]
    chosen = choose(documents, rows)
    assert chosen.way == Way()
    assert len(chosen.trials) == 1


@pytest.mark.usefixtures("light")
def test_rows_of_one_group_do_not_teach_each_other_while_ways_are_measured() -> None:
    documents, rows = world(80, 0)
    twins = [
        Example(f"{row.id}-{copy}", row.input, row.target, group=row.id, meta=row.meta) for row in rows for copy in "ab"
    ]
    chosen = choose(documents, twins)
    assert all((trial.found or 0) < 0.6 for trial in chosen.trials)


@pytest.mark.usefixtures("light")
def test_another_size_of_passage_is_taken_only_where_it_finds_more() -> None:
    filler = " ".join(f"word{i % 7}" for i in range(80))
    documents = [
        Document(f"d{i}", "", "\n\n".join(f"The secret of key{i}x{j} is value{i}x{j}. {filler}" for j in range(6)))
        for i in range(12)
    ]
    rows = [Example(f"{i}-{j}", f"the secret of key{i}x{j}", f"value{i}x{j}") for i in range(12) for j in range(6)]
    chosen = choose(documents, rows)
    assert chosen.notes == ("180 words a passage, searched by bm25",)
    assert [trial.setting.split(" words")[0] for trial in chosen.trials[:3]] == ["180", "90", "360"]
