"""Ray itself: joined once, asked how many workers it holds, left in the end. The only file that imports it."""

from __future__ import annotations

import importlib.util
import math
import os
from contextlib import suppress
from typing import Any

from shouldtune.errors import CannotMeasure, ModelUnavailable
from shouldtune.workers.on import ANY_HERE, On
from shouldtune.workers.wire import Recipe
from shouldtune.workers.worker import Worker


class Cluster:
    """A joined cluster. What was started here is ended here; what was there goes on."""

    def __init__(self, on: On) -> None:
        """Join, or start Ray here, which from 2.59 on asks everybody for a token. ModelUnavailable, CannotMeasure."""
        require_ray()
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody else is told that it runs
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        self.ray: Any = ray
        self.on = on
        self.users = 0
        """Pools on it."""
        self.may_grow = True
        """One that was started here does not."""
        self.joined_here = not ray.is_initialized()
        if self.joined_here:
            try:
                self._join()
            except (RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
                where = on.address or os.environ.get("RAY_ADDRESS") or "a Ray started here"
                raise CannotMeasure(
                    f"cannot join {where}: {' '.join(str(error).split())[:200]}",
                    hint="is it running, and of this machine's versions of Ray and Python? `ray status` says; where it"
                    " asks for tokens, RAY_AUTH_MODE=token is to be said here too",
                ) from None

    def _join(self) -> None:
        # Left to itself Ray joins whatever Ray runs on the machine, one that another program started for itself and
        # will end too. Only one that was named is joined.
        named = "auto" if self.on.address == ANY_HERE else self.on.address or os.environ.get("RAY_ADDRESS")
        self.may_grow = named is not None
        self.ray.init(
            address=named or "local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
        )

    def holds(self) -> int:
        """For how many workers of the size that is asked for it has room, had nobody else any."""
        there = self.ray.cluster_resources()
        by_cpus = there.get("CPU", 0.0) / self.on.cpus if self.on.cpus else math.inf
        by_gpus = there.get("GPU", 0.0) / self.on.gpus if self.on.gpus else math.inf
        return int(min(by_cpus, by_gpus) + 1e-9)

    def put(self, value: Any) -> Any:
        """A reference to something that a worker fetches when it needs it. CannotMeasure."""
        try:
            return self.ray.put(value)
        except ConnectionError:
            raise cut_off() from None

    def start(self, recipe: Recipe, known: Any) -> Any:
        """A worker, as soon as there is room for it. Ray repeats nothing by itself: who asked does, and knows it."""
        return (
            self.ray.remote(Worker)
            .options(
                num_cpus=self.on.cpus,
                num_gpus=self.on.gpus,
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=1000,
                scheduling_strategy="SPREAD",
            )
            .remote(recipe.plain(), [known])
        )

    def wait_for(self, reference: Any, seconds: float) -> Any:
        """What a reference stands for, waited for without an event loop; None if it is not there yet. CannotMeasure."""
        try:
            return self.ray.get(reference, timeout=seconds)
        except self.ray.exceptions.GetTimeoutError:
            return None
        except self.ray.exceptions.RayError as error:
            if not self.is_lost(error):
                raise
            raise CannotMeasure(
                f"a worker died as it started: {' '.join(str(error).split())[:200]}",
                hint="is shouldtune installed on every node, and memory enough for the model?",
            ) from None

    def end(self, worker: Any) -> None:
        """Stop a worker at once, with all that it has under way."""
        with suppress(Exception):  # it may be dead, or the cluster gone
            self.ray.kill(worker, no_restart=True)

    def is_lost(self, error: BaseException) -> bool:
        """Whether an error says that a worker is gone, rather than what it thinks of the work."""
        errors = self.ray.exceptions
        return isinstance(error, errors.RayError) and not isinstance(error, errors.RayTaskError)

    def is_cut_off(self, error: BaseException) -> bool:
        """Whether an error says that the cluster itself can no longer be reached."""
        if isinstance(error, self.ray.exceptions.RayError):  # a worker's own error is of its cause's class too
            return False
        return isinstance(error, ConnectionError) or "Ray Client is not connected" in str(error)

    def cancel(self, reference: Any) -> None:
        """Have work stopped that nobody waits for."""
        with suppress(Exception):
            self.ray.cancel(reference)

    def leave(self) -> None:
        """One user less; the last one lets go of a cluster that was joined here."""
        self.users -= 1
        if self.users <= 0 and self.joined_here:
            with suppress(ConnectionError):  # it has gone by itself
                if self.ray.is_initialized():
                    self.ray.shutdown()


def cut_off() -> CannotMeasure:
    """The error where the cluster can no longer be reached."""
    return CannotMeasure("the connection to the cluster was lost", hint="the same command goes on")


def require_ray() -> None:
    """ModelUnavailable where Ray is not installed. Imports nothing."""
    if importlib.util.find_spec("ray") is None:
        raise ModelUnavailable("--on ray needs the package ray", hint='pip install "shouldtune[ray]"')
