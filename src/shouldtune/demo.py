"""The bundled task, laid into a folder of the user's so that it can be run, read and changed."""

from __future__ import annotations

import shutil
from pathlib import Path

from shouldtune.errors import CannotMeasure

TASK = "python-api"


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
