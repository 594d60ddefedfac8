"""Our scorer of APIBench beside the authors' own: every published answer, graded by both, one by one.

The published answers of two models under four retrievers are in each hub's `published_answers_test.jsonl`, what the
authors' scripts say of each in `published_scores_test.jsonl`. Prints one table: how often the two agree, each answer
counted, and the accuracy, hallucination and same-API share by either. Exit code 1 where a hub agrees on less than 99%.

    python benchmarks/scorers/published_calls.py [--differences]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shouldtune.scorers.api_bench import Database

HERE = Path(__file__).parent
DATA = Path(os.environ.get("SHOULDTUNE_DATA", HERE.parent.parent.parent / "shared" / "data"))
HUBS = ("torchhub", "tensorhub", "huggingface")
MEASURES = ("domain_correct", "hallucination", "same_api")
LEAST = 0.99


@dataclass(frozen=True)
class Graded:
    """One published answer, graded twice."""

    key: tuple[str, str, str]
    """(row, model, retriever)."""
    text: str
    ours: dict[str, bool]
    theirs: dict[str, bool]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def key(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["id"], row["model"], row["retriever"]


def graded(folder: Path) -> Iterator[Graded]:
    """Every published answer of one hub by our scorer and by the authors' script."""
    database = Database([(d["meta"]["api_call"], d["meta"]["domain"]) for d in rows(folder / "docs.jsonl")])
    examples = {row["id"]: row for row in rows(folder / "test.jsonl")}
    theirs = {key(row): row for row in rows(folder / "published_scores_test.jsonl")}
    for answer in rows(folder / "published_answers_test.jsonl"):
        example, found = examples[answer["id"]], database.find(answer["text"])
        ours = {
            "domain_correct": found.api is not None and found.api.domain == example["meta"]["domain"],
            "hallucination": found.api is None and not found.no_call,
            "same_api": found.api is not None and found.api.call == example["output"],
        }
        yield Graded(key(answer), answer["text"], ours, {name: theirs[key(answer)][name] for name in MEASURES})


def share(hits: list[bool]) -> str:
    return f"{100 * sum(hits) / len(hits):.2f}"


def line(hub: str, setting: str, found: list[Graded]) -> str:
    cells = [hub, setting, str(len(found))]
    cells += [share([g.ours[name] == g.theirs[name] for g in found]) for name in MEASURES]
    cells += [f"{share([g.ours[name] for g in found])} / {share([g.theirs[name] for g in found])}" for name in MEASURES]
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--differences", action="store_true", help="list every answer that is graded differently")
    asked = parser.parse_args()
    print(
        "| hub | setting | answers | agree % on domain | on hallucination | on same API "
        "| domain correct %, ours / theirs | hallucination % | same API % |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    least, different = 1.0, []
    for hub in HUBS:
        found = list(graded(DATA / f"apibench-{hub}"))
        for setting in sorted({g.key[1:] for g in found}):
            print(line(hub, " ".join(setting), [g for g in found if g.key[1:] == setting]), flush=True)
        print(line(f"**{hub}**", "all", found), flush=True)
        for name in MEASURES[:2]:
            least = min(least, sum(g.ours[name] == g.theirs[name] for g in found) / len(found))
        different += [g for g in found if g.ours != g.theirs]
    if asked.differences:
        for g in different:
            print(f"\n{' '.join(g.key)}: ours {g.ours}, theirs {g.theirs}\n    {g.text[:300]}")
    return 0 if least >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
