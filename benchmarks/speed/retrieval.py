"""Index 20,000 chunks and answer 1,000 queries, ours beside LlamaIndex's BM25.

The chunks are 60 words each from the sources of the installed Python; a query is ten words of one chunk.

    python benchmarks/speed/retrieval.py [--chunks 20000] [--queries 1000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import random
import re
import sysconfig
from pathlib import Path

from side_by_side import OURS, PEERS, Side, compare
from work import write


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--chunks", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    words: list[str] = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        words += re.findall(r"\w+", path.read_text(encoding="utf-8", errors="replace"))
        if len(words) >= 60 * chosen.chunks:
            break
    chunks = [" ".join(words[60 * number : 60 * number + 60]) for number in range(chosen.chunks)]
    draw = random.Random(0)
    sources = [draw.randrange(len(chunks)) for _ in range(chosen.queries)]
    queries = [" ".join(draw.sample(chunks[source].split() or ["x"], 10)) for source in sources]
    job = write({"chunks": chunks, "queries": queries, "sources": sources})
    sides = {
        "ours": Side(OURS, "ours_retrieval.py", job),
        "LlamaIndex": Side(PEERS, "llamaindex_retrieval.py", job),
    }
    compare("BM25", sides, chosen.rounds, chunks=len(chunks), queries=len(queries))


if __name__ == "__main__":
    main()
