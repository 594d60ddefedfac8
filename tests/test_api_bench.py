"""The measure published with APIBench: by its rules, beside the authors' own grades, and how a constant fools it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from shouldtune.checks import best_constant, constants
from shouldtune.errors import InputError
from shouldtune.scorers import grade, load_scorer
from shouldtune.scorers.api_bench import Database
from shouldtune.scorers.call import call
from shouldtune.task import load_task
from shouldtune.task.rows import read_rows
from shouldtune.types import Completion, Document, Example, Score
from tests.conftest import MakeTask

pytest.importorskip("tree_sitter")

VISION = [
    ("torch.hub.load(repo_or_dir='vision', model='resnet18', pretrained=True)", "Classification"),
    ("torch.hub.load(repo_or_dir='vision', model='resnet18_big', pretrained=True)", "Classification"),
    ("torch.hub.load(repo_or_dir='audio', model='speak', pretrained=True)", "Speech"),
]


def documents(apis: list[tuple[str, str]]) -> list[Document]:
    return [Document(str(i), call, call, {"api_call": call, "domain": domain}) for i, (call, domain) in enumerate(apis)]


def published(answer: str, target: str, apis: list[tuple[str, str]] = VISION, **meta: Any) -> Score:
    scorer = load_scorer("api_domain", Path(), "here", documents(apis))
    return asyncio.run(grade(scorer, Completion(text=answer), Example("e", "q", target, meta=meta)))


def test_another_api_of_the_same_domain_is_right_and_not_the_same() -> None:
    score = published("torch.hub.load('vision', 'resnet18_big')", VISION[0][0])
    assert score.value == 1.0
    assert score.metrics == {"domain_correct": 1.0, "hallucination": 0.0, "same_api": 1.0}  # the first fit is a prefix
    score = published("torch.hub.load('vision', 'resnet18')", VISION[1][0])
    assert score.metrics == {"domain_correct": 1.0, "hallucination": 0.0, "same_api": 0.0}


def test_another_domain_is_wrong_and_an_invented_api_is_a_hallucination() -> None:
    assert published("torch.hub.load('audio', 'speak')", VISION[0][0]).metrics == {
        "domain_correct": 0.0,
        "hallucination": 0.0,
        "same_api": 0.0,
    }
    invented = published("torch.hub.load('vision', 'dreamt')", VISION[0][0])
    assert (invented.value, invented.metrics["hallucination"], invented.reason) == (0.0, 1.0, "no such API")


def test_the_rows_own_domain_goes_before_that_of_the_database() -> None:
    assert published("torch.hub.load('audio', 'speak')", VISION[0][0], domain="Speech").value == 1.0


def test_only_what_stands_between_api_call_and_api_provider_is_read() -> None:
    answer = "{'domain': 'x', 'api_call': \"torch.hub.load('audio', 'speak')\", 'api_provider': 'resnet18 of vision'}"
    assert published(answer, VISION[2][0]).value == 1.0
    assert published(answer, VISION[0][0]).value == 0.0


def test_on_pytorch_hub_an_answer_without_the_marker_is_no_hallucination() -> None:
    found = Database(VISION).find("I cannot say.")
    assert found.no_call and found.api is None


def test_each_hub_looks_for_its_own_arguments() -> None:
    extra = "(model='m', size=2)"
    torch = Database([(f"torch.hub.load{extra}", "d")]).apis[0].arguments
    tensor = Database([(f"hub.load{extra}", "d")]).apis[0].arguments
    face = Database([(f"pipeline{extra}", "d")]).apis[0].arguments
    assert (torch, tensor, face) == (("m",), ("m", "size=2"), ("m", "2"))


def test_an_entry_without_arguments_is_never_found() -> None:
    assert Database([("load()", "d"), ("'text'", "d"), ("", "d")]).match("load()") is None


@pytest.mark.parametrize("text", ["", "(" * 3000, "f('" * 2000, "\x00\udcff", "api_call", "api_call: )"])
def test_hostile_answers_do_not_raise(text: str) -> None:
    assert published(text, VISION[0][0]).value == 0.0


def test_without_apis_in_the_documents_the_published_measure_is_refused() -> None:
    with pytest.raises(InputError, match="api_call"):
        load_scorer("api_domain", Path(), "here", [Document("1", "t", "text")])


def test_our_own_scorer_tells_the_published_measures_too() -> None:
    scorer = load_scorer("call", Path(), "here", documents(VISION))
    score = asyncio.run(grade(scorer, Completion(text=VISION[1][0]), Example("e", "q", VISION[0][0])))
    assert score.value == 0.0
    assert (score.metrics["domain_correct"], score.metrics["wrong_api"]) == (1.0, 1.0)


def test_check_says_that_a_constant_fools_the_published_measure(make_task: MakeTask) -> None:
    apis = [(f"torch.hub.load(repo_or_dir='vision', model='net_{i:02d}')", "Classification") for i in range(17)]
    apis += [(f"torch.hub.load(repo_or_dir='audio', model='ear_{i:02d}')", "Speech") for i in range(3)]
    rows = [{"input": f"the {i}th wish, of {i * 37} things", "target": apis[i % 20][0]} for i in range(200)]
    folder = make_task(rows, scorer="exact")
    text = "".join(json.dumps({"text": c, "meta": {"api_call": c, "domain": d}}) + "\n" for c, d in apis)
    (folder / "docs.jsonl").write_text(text)
    file = json.loads((folder / "shouldtune.yaml").read_text())
    levels = {}
    for scorer in ("api_domain", "call"):
        (folder / "shouldtune.yaml").write_text(json.dumps({**file, "documents": "docs.jsonl", "scorer": scorer}))
        loaded = load_task(folder)
        levels[scorer] = asyncio.run(constants(loaded)).level, round(asyncio.run(best_constant(loaded)).mean, 2)
    assert levels == {"api_domain": ("problem", 0.85), "call": ("note", 0.05)}


def test_check_says_that_a_constant_scores_about_85_percent_on_torch_hub(shared_data: Path, tmp_path: Path) -> None:
    for name in ("train", "test", "docs"):
        source = (shared_data / "apibench-torchhub" / f"{name}.jsonl").read_text(encoding="utf-8")
        # The held-out rows alone: they are what the published figure is about.
        (tmp_path / f"{name}.jsonl").write_text("\n".join(source.splitlines()[: 40 if name == "train" else None]))
    (tmp_path / "shouldtune.yaml").write_text(
        "name: hub\ninstruction: Call.\nscorer: api_domain\n"
        "train: train.jsonl\nholdout: test.jsonl\ndocuments: docs.jsonl\n"
    )
    loaded = load_task(tmp_path)
    found = asyncio.run(constants(loaded))
    assert found.level == "problem"
    assert "the scorer is fooled" in found.detail
    assert 0.80 <= asyncio.run(best_constant(loaded)).mean <= 0.90


@pytest.mark.parametrize("hub", ["torchhub", "tensorhub", "huggingface"])
def test_every_published_answer_is_graded_as_the_authors_grade_it(shared_data: Path, hub: str) -> None:
    def rows(name: str) -> list[dict[str, Any]]:
        text = (shared_data / f"apibench-{hub}" / f"{name}.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    database = Database([(d["meta"]["api_call"], d["meta"]["domain"]) for d in rows("docs")])
    domains = {row["id"]: row["meta"]["domain"] for row in rows("test")}
    theirs = {(r["id"], r["model"], r["retriever"]): r for r in rows("published_scores_test")}
    # Every fifth answer, of both models and all retrievers; the benchmark script grades them all.
    answers = rows("published_answers_test")[::5]
    agree = {"domain_correct": 0, "hallucination": 0}
    for a in answers:
        found, wanted = database.find(a["text"]), theirs[a["id"], a["model"], a["retriever"]]
        right = found.api is not None and found.api.domain == domains[a["id"]]
        agree["domain_correct"] += right == wanted["domain_correct"]
        agree["hallucination"] += (found.api is None and not found.no_call) == wanted["hallucination"]
    assert min(agree.values()) >= 0.99 * len(answers)


NO_CALLS = {171, 251, 445, 817, 820, 821}
"""Hugging Face rows whose reference is a shell command (`mlagents-load-from-hf --repo-id=...`), and no Python call."""


@pytest.mark.parametrize("hub", ["torchhub", "tensorhub", "huggingface"])
def test_every_public_call_is_right_by_our_own_scorer(shared_data: Path, hub: str) -> None:
    scorer = call()
    rows = [
        e for half in ("train", "test") for e in read_rows(shared_data / f"apibench-{hub}" / f"{half}.jsonl").examples
    ]
    failing = {e.id for e in rows if scorer(Completion(text=e.target), e).value < 1}
    assert failing == {f"apibench-huggingface-eval-{n:04d}" for n in NO_CALLS if hub == "huggingface"}


@pytest.mark.parametrize("hub", ["torchhub", "tensorhub", "huggingface"])
def test_planted_mistakes_in_public_calls_are_wrong(shared_data: Path, hub: str) -> None:
    scorer = call()
    for e in read_rows(shared_data / f"apibench-{hub}" / "test.jsonl").examples:
        head, bracket, tail = e.target.partition("(")
        inserted = "" if tail.startswith(")") else ", "
        for mistake in (f"{head}_2({tail}", f"{head}(invented=1{inserted}{tail}", f"other.{e.target}", head):
            assert not bracket or scorer(Completion(text=mistake), e).value == 0.0, mistake
