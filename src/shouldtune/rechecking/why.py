"""Why a rung must ask again: from what has changed, and what the rung is made of."""

from __future__ import annotations

from shouldtune.forgetting import PAYER
from shouldtune.rechecking.changes import Changes, Rows
from shouldtune.rechecking.replay import Needed

SHOWN_TO_ALL = {
    "few_shot": "training examples have changed, and its shots are drawn from them",
    "instructions": "training examples have changed, and its instruction is found on them",
    "structured": "training examples have changed, and its settings are chosen on them",
    "nearest_shots": "training examples have changed, and each question is shown the nearest",
    "retrieval_shots": "training examples have changed, and each question is shown the nearest",
    "retrieval": "training examples have changed, and its search is chosen on them",
    "stronger": "training examples have changed, and it takes the best prompt",
    "probes": "training examples have changed, and failures are probed on them",
    "judge": "training examples have changed, and it is tried on them",
}
TRAINED = "training examples have changed, and it is trained on them"
ENGINES: dict[tuple[str, ...], str] = {
    ("model's engine",): "the model is computed by another engine",
    ("tune's engine",): "the tuned model is computed by another engine",
    ("strong's engine",): "the strong model is computed by another engine",
    ("judge's engine",): "the judge is computed by another engine",
}
"""Where nothing but the engine has changed."""
LOOKED_UP = {"retrieval", "retrieval_shots", "fine_tune_retrieval", "stronger"}


def why(need: Needed, found: Changes, trains: tuple[str, ...]) -> str:
    """The reasons, with commas between."""
    said = []
    rows = len(found.holdout.added) + len(found.holdout.changed)
    further = bool(need.to_choose or need.to_grade or need.epochs or need.to_measure > rows)
    if rows and (need.to_measure or need.to_grade):
        said.append("held-out examples are new or changed")
    for keys, words in (
        (("model",), "another model is prompted"),
        (("tune",), "another model is tuned"),
        (("strong",), "another strong model is named"),
        (("judge",), "another judge grades"),
        (("instruction",), "the instruction has changed"),
        (("output", "scoring"), "the form of answers, or their scoring, has changed"),
        (("rungs", "probing"), "the ladder's own settings have changed"),
        (("shouldtune",), "another version may word its prompts otherwise"),
    ):
        applies = need.name in trains or keys != ("tune",)
        changed = found.changed(*keys)
        if changed and applies and further:
            said.append(ENGINES.get(changed, words))
    if _any(found.train) and further:
        said.append(TRAINED if need.name in trains else SHOWN_TO_ALL.get(need.name, "training examples have changed"))
    if _any(found.documents) and need.name in LOOKED_UP:
        said.append("documents have changed")
    if found.changed("keep") and need.name == PAYER:
        said.append("a task that is kept has changed")
    if any(setting.key.endswith(".py") for setting in found.settings) and further:
        said.append("your scorer's code has changed")
    return ", ".join(said) or "more of it must be asked to tell"


def _any(rows: Rows | None) -> bool:
    return rows is not None and rows.any
