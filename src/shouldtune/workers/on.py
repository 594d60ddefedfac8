"""Where a run's workers are, and what each of them takes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from shouldtune.errors import InputError

ANY_HERE = "ray://auto"
"""The Ray that `ray start` started on this machine."""
HINT = f"--on ray, --on {ANY_HERE} for the Ray that runs on this machine, or --on ray://HOST:10001"


@dataclass(frozen=True)
class On:
    """A Ray cluster, and the workers that a run wants of it."""

    address: str | None = None
    """`ray://host:port`, or `ray://auto`; None: the one that RAY_ADDRESS names, else one of this run's own."""
    workers: int | None = None
    """How many for each model; None: as many as the cluster has room for now, shared among the models."""
    cpus: float = 1.0
    """Cores that one worker takes."""
    gpus: float = 0.0
    """GPUs that one worker takes: 0.5 puts two on one."""

    @staticmethod
    def parse(text: str | None, workers: int | None = None, cpus: float = 1.0, gpus: float = 0.0) -> On | None:
        """What `--on` and the options beside it say; None where there is no `--on`. InputError."""
        if text is None:
            if workers is not None or cpus != 1.0 or gpus != 0.0:
                raise InputError("workers are asked for, and nothing says where", hint=HINT)
            return None
        if text != "ray" and re.fullmatch(r"ray://[\w.\-\[\]:]+", text, re.ASCII) is None:
            raise InputError(f"--on {text} is not known", hint=HINT)
        if cpus + gpus <= 0:
            raise InputError("a worker that takes neither cores nor GPUs has no place", hint="--per-worker-cpus 1")
        if gpus > 1 and not float(gpus).is_integer():
            raise InputError(
                f"--per-worker-gpus {gpus:g}: Ray shares one GPU out in parts, and more than one only whole",
                hint=f"--per-worker-gpus {math.ceil(gpus)}",
            )
        return On(None if text == "ray" else text, workers, cpus, gpus)
