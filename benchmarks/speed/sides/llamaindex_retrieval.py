"""LlamaIndex's BM25 retriever on the same chunks and queries."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from llama_index.core.schema import TextNode
from llama_index.retrievers.bm25 import BM25Retriever
from turns import take_turns

job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())


def work() -> dict[str, Any]:
    nodes = [TextNode(text=text, id_=str(number)) for number, text in enumerate(job["chunks"])]
    retriever = BM25Retriever.from_defaults(nodes=nodes, similarity_top_k=5)
    found = [[int(node.node.node_id) for node in retriever.retrieve(query)] for query in job["queries"]]
    return {"found": sum(source in each for source, each in zip(job["sources"], found, strict=True))}


take_turns(work)
