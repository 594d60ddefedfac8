"""Our BM25: index the chunks, answer the queries."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from turns import take_turns

from shouldtune.retrieval.bm25 import Bm25

job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())


def work() -> dict[str, Any]:
    index = Bm25(job["chunks"])
    found = [index.search(query, 5) for query in job["queries"]]
    return {"found": sum(source in each for source, each in zip(job["sources"], found, strict=True))}


take_turns(work)
