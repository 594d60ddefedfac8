"""Our client, with the ledger and a budget (every answer is on disk before it counts), or `bare`: without both."""

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
from shouldtune.models.ledger import Ledger, Ledgered
from shouldtune.models.prompted import Prompted
from shouldtune.models.remote import open_remote
from shouldtune.types import Completion, Example, Score

url, calls = sys.argv[1], int(sys.argv[2])
bare = sys.argv[3:] == ["bare"]
INSTRUCTION = "Classify the sentiment as positive or negative. " * 8


def exact(completion: Completion, example: Example) -> Score:
    return Score(float(completion.text == example.target))


async def run() -> float:
    model = replace(open_remote(f"{url}#waits"), concurrency=64)
    texts = [f"Text {number}: I like this film a lot, it is well made." for number in range(calls)]
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.sqlite")
        ledger.budget = Budget(1000.0, 0.0)
        asked = Prompted(model if bare else Ledgered(model, ledger, Price(1.0, 1.0, "made up")), INSTRUCTION)
        predictions = await measure(asked, [Example(text, text, "positive") for text in texts], exact)
        await model.aclose()
        ledger.close()
    return sum(prediction.score.value for prediction in predictions if prediction.score)


def work() -> dict[str, Any]:
    return {"right": asyncio.run(run())}


take_turns(work)
