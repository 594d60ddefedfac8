"""How often each way of searching finds the right document of public data sets: hit@1, hit@5, MRR on their test rows.

Every way is built from the documents and, where examples teach it, from training rows alone; which one the product
would choose is chosen on training rows too. The test rows are asked once.

What the rows allow: where several documents answer a request alike, only one counts. Two readings tell of it: the share
of test rows whose right document some training row has too, and how often the most alike training question (by MiniLM)
has the same right document, among training rows themselves.

    python benchmarks/retrieval/hits.py [chat-docs] [apibench-tensorhub] [apibench-torchhub] [apibench-huggingface]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shouldtune.retrieval.chunks import passages
from shouldtune.retrieval.gold import RightPlaces
from shouldtune.retrieval.hits import Ranking, hit_rate, mean_reciprocal_rank
from shouldtune.retrieval.minilm import minilm, minilm_folder
from shouldtune.retrieval.search import Way, ways_at_hand
from shouldtune.rungs.choosing import parted
from shouldtune.rungs.retrieving import MOST_SOUGHT, ChosenRetriever, chosen_retriever
from shouldtune.scorers.text import exact
from shouldtune.task.split import split
from shouldtune.types import Document, Example, Task

DATA = Path(os.environ.get("SHOULDTUNE_DATA", Path(__file__).parent.parent.parent.parent / "shared" / "data"))
SETS = ("chat-docs", "apibench-tensorhub", "apibench-torchhub", "apibench-huggingface")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def examples(path: Path) -> tuple[Example, ...]:
    """The rows of a file; the right documents' ids are all that is kept of `meta`."""
    found = rows(path)
    return tuple(
        Example(row["id"], row["input"], row["output"], meta={"gold_doc_ids": row["meta"]["gold_doc_ids"]})
        for row in found
    )


def read(name: str) -> tuple[Task, tuple[Example, ...]]:
    """(the task with its training rows, the test rows)."""
    folder = DATA / name
    documents = tuple(
        Document(row["id"], row.get("title", ""), row["text"], row.get("meta") or {})
        for row in rows(folder / "docs.jsonl")
    )
    train = split(examples(folder / "train.jsonl"), 0, 0)[0]  # in the order that a task is loaded in
    return Task(name, "", train, exact, documents), examples(folder / "test.jsonl")


def line(name: str, rankings: Sequence[Ranking], note: str = "") -> str:
    figures = (hit_rate(rankings, 1), hit_rate(rankings, 5), mean_reciprocal_rank(rankings))
    shown = " | ".join("-" if figure is None else f"{figure:.3f}" for figure in figures)
    return f"| {name} | {shown} | {note} |"


def retriever_by(way: Way, task: Task) -> ChosenRetriever:
    """The retriever that searches in one way, chosen or not, in passages of the usual size."""
    cut = passages(task.documents)
    finder = RightPlaces(task.documents, cut)
    right = {row.id: finder.of(row, seek=place < MOST_SOUGHT) for place, row in enumerate(task.train)}
    return ChosenRetriever(cut, way, right)


def limits(task: Task, test: Sequence[Example]) -> str:
    """What the rows allow, in a sentence."""
    gold = [set(row.meta["gold_doc_ids"]) for row in task.train]
    seen = set().union(*gold)
    known = [row for row in test if row.meta["gold_doc_ids"]]
    shared = np.mean([bool(seen & set(row.meta["gold_doc_ids"])) for row in known])
    said = f"{shared:.2f} of the {len(known)} test rows have a right document that a training row has too"
    if minilm_folder() is None:
        return said
    vectors = minilm().encode([row.input for row in task.train])
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -1)
    agree = np.mean([bool(gold[row] & gold[int(near)]) for row, near in enumerate(alike.argmax(1)) if gold[row]])
    close = [(row, int(near)) for row, near in enumerate(alike.argmax(1)) if gold[row] and alike[row, near] >= 0.8]
    same = np.mean([bool(gold[row] & gold[near]) for row, near in close]) if close else float("nan")
    return (
        f"{said}. The most alike training question has a right document in common with {agree:.2f} of training rows, "
        f"with {same:.2f} of the {len(close)} whose cosine is 0.8 or more"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("sets", nargs="*", default=list(SETS))
    asked = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the public data sets are not at {DATA}: set SHOULDTUNE_DATA")
    for name in asked.sets:
        task, test = read(name)
        chosen = asyncio.run(chosen_retriever(task, *parted(task)))
        print(
            f"\n**{name}**: {len(task.documents)} documents, {len(task.train)} training rows; {limits(task, test)}.\n"
        )
        print("| way | hit@1 | hit@5 | MRR | ms a question |\n|---|---|---|---|---|")
        for way in ways_at_hand(taught=True):
            retriever = retriever_by(way, task)
            nearest = retriever.nearest(len(retriever.passages), task.train)
            start, found = time.perf_counter(), []
            for row in test:
                ids = [passage.document_id for passage in nearest.find(row.input)]
                found.append((ids, set(row.meta["gold_doc_ids"])))
            spent = f"{1000 * (time.perf_counter() - start) / len(test):.1f}"
            mark = "**" if way == chosen.way else ""
            print(line(f"{mark}{way}{mark}", [each for each in found if each[1]], spent), flush=True)
        print(f"\nChosen on the training rows: {'; '.join(chosen.notes)}.", flush=True)


if __name__ == "__main__":
    main()
