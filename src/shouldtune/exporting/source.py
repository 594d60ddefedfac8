"""What is exported: a finished run's fitted model, the task that it was measured on, and what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path
from typing import TYPE_CHECKING

from shouldtune.errors import InputError
from shouldtune.files import RUNS
from shouldtune.models.calibrated import Calibrated
from shouldtune.models.open import HERE, open_fitted
from shouldtune.models.prompted import Prompted
from shouldtune.models.requests import Manner
from shouldtune.models.tool_calling import ToolCalling
from shouldtune.run import RunRecord, load_run, models_folder, rung_to_ship
from shouldtune.task import LoadedTask, load_task
from shouldtune.types import Example, Measurement, Model, Prediction

if TYPE_CHECKING:
    from shouldtune.models.local import LocalModel

SERVE = "`shouldtune serve` serves it whole"


@dataclass(frozen=True)
class Source:
    """A rung's model, ready to be written down in another form."""

    record: RunRecord
    rung: str
    prompt: Prompted
    exports_rows: bool = False
    """Whether the task's own rows are what is wanted, so that nothing can be exported without it."""

    @property
    def name(self) -> str:
        """The task's."""
        return str(self.record.asked["name"])

    @property
    def model(self) -> Model:
        """What the prompt is sent to."""
        return self.prompt.model

    @property
    def model_name(self) -> str:
        """What its base is called, without a path of this machine: a file's or a folder's own name is left."""
        spec = self.model.spec()
        if spec["kind"] not in HERE:
            return str(spec.get("name", spec["kind"]))
        kind, colon, place = str(spec["model"]).partition(":")
        return f"{kind}{colon}{Path(place).name}"

    @property
    def local(self) -> LocalModel:
        """The same, where its weights are on this machine. InputError where they are not."""
        from shouldtune.models.local import LocalModel

        model = getattr(self.model, "local", self.model)  # what vLLM served is exported as our own engine reads it
        if not isinstance(model, LocalModel):
            raise InputError(
                f"the weights of {self.rung}'s model are not on this machine",
                where=self.record.folder,
                hint="--to prompt writes its prompt; a model behind an address stays where it is",
            )
        return model

    @property
    def is_local(self) -> bool:
        spec = self.model.spec()
        return spec["kind"] == "local" or (spec["kind"] == "vllm" and getattr(self.model, "local", None) is not None)

    @property
    def answers_here(self) -> bool:
        """Whether our own engine gave the run's answers; a server of these weights was asked as servers are."""
        return str(self.model.spec()["kind"]) == "local"

    @property
    def adapter(self) -> Path | None:
        """The trained adapter's folder; None where no weight was changed here."""
        return self.local.identity.adapter if self.is_local else None

    @cached_property
    def manner(self) -> Manner:
        """How the server behind the run's model wanted to be asked, as far as the run's answers know."""
        measured = [each.predictions for each in self.record.measurements if each.rung == self.rung]
        told = (Manner.of(prediction.completion.manner) for rows in measured for prediction in rows)
        return reduce(Manner.with_, told, Manner())

    @property
    def measurement(self) -> Measurement:
        """What the run measured of it."""
        return next(each for each in self.record.measurements if each.rung == self.rung)

    @cached_property
    def task(self) -> LoadedTask:
        """The task, as it was when the run was made. InputError where it is not there any more, or has changed."""
        folder, asked = self.record.folder.resolve(), self.record.asked
        if folder.parent.name != RUNS:
            raise InputError(
                "this run does not lie in its task's folder, so its scorer and its rows are not at hand",
                where=folder,
                hint=f"put it back{self._or_not_scored}",
            )
        loaded = load_task(folder.parent.parent, asked.get("model"), asked.get("tune"))
        if loaded.digest != asked["task_sha256"]:
            raise InputError(
                "the task has changed since this run", where=loaded.path, hint=f"run it again{self._or_not_scored}"
            )
        return loaded

    @property
    def _or_not_scored(self) -> str:
        """The other way out, where the task's rows are not what is exported."""
        return "" if self.exports_rows else ", or export without scoring again: --no-parity"

    def pairs(self, most: int | None = None) -> list[tuple[Example, Prediction]]:
        """Held-out examples that the run has an answer and a score for, in its seeded order; the first `most`."""
        known = {example.id: example for example in self.record.holdout}
        answered = [(known[p.example_id], p) for p in self.measurement.predictions if p.score is not None]
        return answered[:most]


def open_source(run: Path, rung: str | None = None, *, rows: bool = False) -> Source:
    """The model that a run would ship, or another of its rungs. InputError, also for what no export can carry."""
    record = load_run(run)
    chosen = rung_to_ship(record, rung)
    model = open_fitted(models_folder(record.folder, chosen))
    if not isinstance(model, Prompted):
        raise InputError(f"{chosen} cannot be exported: {_why_not(model)}", where=record.folder, hint=SERVE)
    return Source(record, chosen, model, rows)


def _why_not(model: Model) -> str:
    if isinstance(model, Calibrated):
        return "it weighs each label's probability against its usual one, which no prompt can carry"
    if isinstance(model, ToolCalling):
        return "it hands each input's functions to the server as tools, which no prompt can carry"
    return "it holds no language model"
