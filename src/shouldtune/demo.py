"""The bundled task, laid into a folder of the user's so that it can be run, read and changed."""

from __future__ import annotations

import shutil
from pathlib import Path

from shouldtune.errors import CannotMeasure
from shouldtune.probing import Probing
from shouldtune.rungs import LADDER
from shouldtune.rungs.few_shot import FewShot
from shouldtune.rungs.fine_tune import FineTune
from shouldtune.rungs.nearest_shots import NearestShotsRung
from shouldtune.rungs.retrieval import Retrieval
from shouldtune.rungs.retrieval_shots import RetrievalShots
from shouldtune.types import Rung

TASK = "python-api"
FEWER_SETTINGS: dict[str, Rung] = {
    "few_shot": FewShot(sizes=(4,), draws=1),
    "nearest_shots": NearestShotsRung(sizes=(2,)),
    "retrieval": Retrieval(sizes=(1,)),
    "retrieval_shots": RetrievalShots(sizes=((2, 1),)),
    "fine_tune": FineTune(readings=800),
}
"""Rungs that try less than usual, so that the demo ends within minutes on two slow cores."""

FEWER_PROBES = Probing(failures=10, successes=5, random=6, most_calls=80, tried_again=0, chosen_on=8)
"""Enough to show the segments; their intervals are wide."""


LEFT_OUT = ("instructions", "fine_tune_retrieval", "fine_tune_shots", "distil")
"""One kind of fine-tune is enough to see what one brings, and so small a model writes no better instruction."""


def ladder() -> tuple[Rung, ...]:
    """The rungs, some with fewer settings to choose from."""
    return tuple(FEWER_SETTINGS.get(rung.name, rung) for rung in LADDER if rung.name not in LEFT_OUT)


def lay_out(folder: Path) -> Path:
    """Copy the bundled task into `folder`/python-api; files that are there already stay. Returns the task's folder."""
    target = folder / TASK
    source = bundled()
    for file in sorted(source.iterdir()):
        if file.is_file() and not (target / file.name).exists():
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target / file.name)
    return target


def bundled() -> Path:
    """Where the task lies: inside an installed package, or in the clone that the package was installed from."""
    package = Path(__file__).parent
    for place in (package / "_examples" / TASK, package.parent.parent / "examples" / TASK):
        if (place / "shouldtune.yaml").is_file():
            return place
    raise CannotMeasure("the bundled task is missing from this installation", hint="install shouldtune again")
