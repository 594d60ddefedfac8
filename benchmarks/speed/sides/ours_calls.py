"""Our client; with `ledger` in a budget, every call on disk before it is sent, every answer before it counts."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from turns import take_turns

from shouldtune.judgement import Price
from shouldtune.measure import measure
from shouldtune.models.budget import Budget
from shouldtune.models.ledger import Ledger
from shouldtune.models.ledgered import Ledgered
from shouldtune.models.prompted import Prompted
from shouldtune.models.remote import open_remote
from shouldtune.types import Completion, Example, Score

url, calls, ledgered = sys.argv[1], int(sys.argv[2]), sys.argv[3:] == ["ledger"]
INSTRUCTION = "Classify the sentiment as positive or negative. " * 8


def exact(completion: Completion, example: Example) -> Score:
    return Score(float(completion.text == example.target))


async def run() -> float:
    model = replace(open_remote(f"{url}#waits"), concurrency=64)
    texts = [f"Text {number}: I like this film a lot, it is well made." for number in range(calls)]
    examples = [Example(text, text, "positive") for text in texts]
    if not ledgered:
        predictions = await measure(Prompted(model, INSTRUCTION), examples, exact)
    else:
        with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.sqlite") as ledger:
            ledger.budget = Budget(1000.0, 0.0)
            asked = Prompted(Ledgered(model, ledger, Price(1.0, 4.0)), INSTRUCTION)
            predictions = await measure(asked, examples, exact)
    await model.aclose()
    return sum(prediction.score.value for prediction in predictions if prediction.score)


def work() -> dict[str, Any]:
    return {"right": asyncio.run(run())}


take_turns(work)
