"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shouldtune.errors import InputError

if TYPE_CHECKING:
    from shouldtune.task import LoadedTask
    from shouldtune.types import Rung

TaskArgument = Annotated[Path, typer.Argument(help="A task's folder or its shouldtune.yaml.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else there.")]
ModelOption = Annotated[str | None, typer.Option(help="The model to prompt, instead of the task file's.")]
TuneOption = Annotated[str | None, typer.Option(help="The model to fine-tune, instead of the task file's.")]
RungsOption = Annotated[str | None, typer.Option(help="Only these rungs, with commas between.")]
AllRungs = Annotated[
    bool, typer.Option("--all-rungs", help="Measure every rung, also when the answer is already clear.")
]
WholeHoldout = Annotated[
    bool, typer.Option("--whole-holdout", help="Ask every rung every held-out example; stop none early.")
]
Forecast = Annotated[
    bool,
    typer.Option("--forecast", help="Measure a learning curve before a fine-tune: what would more bring?"),
]
MaxCalls = Annotated[
    int | None, typer.Option("--max-calls", min=0, help="New calls that this run may make; then it ends in order.")
]
MaxMinutes = Annotated[
    float | None, typer.Option("--max-minutes", min=0.0, help="Minutes after which this run begins nothing more.")
]
PriceOption = Annotated[
    str | None,
    typer.Option("--price", metavar="READ,WRITTEN", help="What the prompted model costs, dollars per million tokens."),
]
NoPriceLimit = Annotated[
    bool, typer.Option("--no-price-limit", help="Run although a price is not known; then the budget does not hold.")
]
BudgetOption = Annotated[
    float | None, typer.Option("--budget", min=0.0, help="Dollars that the calls of all runs of this task may cost.")
]
YesOption = Annotated[
    bool, typer.Option("--yes", help="Training data may be sent to the provider that `tune` names; do not ask.")
]
OnOption = Annotated[
    str | None,
    typer.Option(
        "--on", metavar="ray[://HOST:PORT or ://auto]", help="Spread local models over a Ray cluster's workers."
    ),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Workers for each model; else as many as there is room for.")]
PerWorkerCpus = Annotated[float, typer.Option("--per-worker-cpus", min=0.0, help="Cores that a worker takes.")]
PerWorkerGpus = Annotated[float, typer.Option("--per-worker-gpus", min=0.0, help="GPUs, or a part of one: 0.5.")]
NoProbes = Annotated[bool, typer.Option("--no-probes", help="Do not ask why the best prompt's failures fail.")]


def _keys_from(path: Path | None) -> Path | None:
    if path is not None:
        from shouldtune.models.api_keys import load_env_file

        load_env_file(path)
    return path


EnvFile = Annotated[
    Path | None,
    typer.Option(
        callback=_keys_from, is_eager=True, help="A file of KEY=VALUE lines with providers' keys; the environment wins."
    ),
]


def load(task: Path, model: str | None = None, tune: str | None = None) -> LoadedTask:
    from shouldtune.task import load_task

    return load_task(task, model, tune)


def rungs_named(names: str | None) -> tuple[Rung, ...]:
    from shouldtune.asked import chosen_rungs
    from shouldtune.rungs import LADDER

    return chosen_rungs([name.strip() for name in names.split(",")]) if names else LADDER


def price_of(text: str | None) -> tuple[float, float] | None:
    """Dollars per million tokens, read and written."""
    if text is None:
        return None
    try:
        read, written = (float(part) for part in text.split(","))
    except ValueError:
        read = written = -1.0
    if not (0 <= read <= 1e9 and 0 <= written <= 1e9):
        raise InputError(f"--price {text} is no price", hint="READ,WRITTEN in dollars per million tokens: 0.25,2")
    return read, written
