"""Whether vLLM gives the greedy answers of our own engine: with the base's weights, and with an adapter of a run.

    export SHOULDTUNE_VLLM=/path/to/its/environment/bin/vllm
    python benchmarks/servers/served_by_vllm.py RUN [--most 64]        # RUN: its fine_tune was fitted here

Both answer the held-out examples with the prompts of the run's `fine_tune` (`tuned`), and with the same prompts and no
adapter (`base`). Prints the share of answers that are the same letter by letter, and the same in their first word,
both mean scores with the paired interval of their difference, and answers a second, the server's start left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agreement import answers, equal

from shouldtune.models.local import LocalModel
from shouldtune.models.open import open_fitted
from shouldtune.models.prompted import Prompted
from shouldtune.models.vllm import PREFIX, VllmModel, open_vllm
from shouldtune.run import load_run, models_folder
from shouldtune.scorers import grade
from shouldtune.stats import mean_limits, paired_limits
from shouldtune.task import load_task
from shouldtune.types import Completion, Example, Model, Options, Scorer

AT_ONCE = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rung", default="fine_tune")
    parser.add_argument("--most", type=int, default=64)
    asked = parser.parse_args()
    record = load_run(asked.run)
    prompt = open_fitted(models_folder(record.folder, asked.rung))
    assert isinstance(prompt, Prompted) and isinstance(prompt.model, LocalModel)
    tuned = prompt.model
    base = LocalModel(replace(tuned.identity, adapter=None, adapter_sha256=None))
    named = tuned.identity.id.removeprefix("hf:")
    served = open_vllm(f"{PREFIX}{named}")
    assert tuned.identity.adapter is not None
    scorer = load_task(record.folder.parent.parent).task.scorer
    found = asyncio.run(
        compared(prompt, base, tuned, served, tuned.identity.adapter, record.holdout[: asked.most], scorer)
    )
    print(json.dumps({"run": record.folder.name, "examples": min(asked.most, len(record.holdout)), **found}, indent=2))


async def compared(
    prompt: Prompted,
    base: LocalModel,
    tuned: LocalModel,
    served: VllmModel,
    adapter: Path,
    rows: Sequence[Example],
    scorer: Scorer,
) -> dict[str, Any]:
    prompts = [list(prompt.messages(row.input)[0]) for row in rows]
    begun = time.monotonic()
    found: dict[str, Any] = {}
    try:
        await served.complete(prompts[0], Options(max_tokens=1))
        found["vllm's start, s"] = round(time.monotonic() - begun, 1)
        for name, ours, theirs in (("base", base, served), ("tuned", tuned, served.with_adapter(adapter))):
            here, here_s = await timed(ours, prompts, prompt.options)
            there, there_s = await timed(theirs, prompts, prompt.options)
            texts = [[completion.text for completion in side] for side in (there, here)]
            first = [[(text.split() or [""])[0] for text in side] for side in texts]
            scores = [await graded(side, rows, scorer) for side in (there, here)]
            change = paired_limits(*scores, 0.025, 0.025)
            found[name] = {
                "failed": sum(completion.failed for completion in there),
                "answers equal": round(equal(*texts), 3),
                "first words equal": round(equal(*first), 3),
                "engine": there[0].engine,
                "score in process": mean_limits(scores[1], 0.025, 0.025).estimate,
                "score there": mean_limits(scores[0], 0.025, 0.025).estimate,
                "difference": (change.estimate, change.low, change.high),
                "answers a second, in process and there": (len(rows) / here_s, len(rows) / there_s),
            }
    finally:
        await served.aclose()
    return found


async def timed(model: Model, prompts: Sequence[Any], options: Options) -> tuple[list[Completion], float]:
    start = time.monotonic()
    done = await answers(model, prompts, options, AT_ONCE)
    return done, time.monotonic() - start


async def graded(done: Sequence[Completion], rows: Sequence[Example], scorer: Scorer) -> list[float | None]:
    scores = [await grade(scorer, completion, row) for completion, row in zip(done, rows, strict=True)]
    return [score and score.value for score in scores]


if __name__ == "__main__":
    main()
