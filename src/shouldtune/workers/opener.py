"""Where a run's models are opened: in this process, or on workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path

from shouldtune.errors import CannotMeasure
from shouldtune.models.open import is_simulated, open_model
from shouldtune.tuning import open_tunable
from shouldtune.types import Example, Model, Tunable
from shouldtune.workers.cluster import Cluster
from shouldtune.workers.lane import OnStep
from shouldtune.workers.on import On
from shouldtune.workers.pool import Pool
from shouldtune.workers.spread import Spread, SpreadTunable, can_be_spread
from shouldtune.workers.wire import Recipe


class Opener:
    """Opens models by their ids; without `on` as if there were no workers."""

    def __init__(
        self,
        on: On | None,
        examples: Sequence[Example],
        models: Iterable[str | None],
        joined: Callable[[On], Cluster] = Cluster,
    ) -> None:
        """`examples` are what a scripted model knows; a real one is told nothing.

        `models`: the ids of all that will be opened, for those that workers hold share the cluster. `joined` joins it.
        """
        self.on, self.examples, self._joined = on, examples, joined
        self._sharing = {each for each in models if each is not None and can_be_spread(each)}
        self._pools: dict[str, Pool] = {}

    def model(self, model_id: str) -> Model:
        """Raises what `open_model` does, and CannotMeasure where no worker can be had."""
        if self.on is None or not can_be_spread(model_id):
            return open_model(model_id, self.examples)
        return Spread(self._pool(model_id))

    def tunable(self, model_id: str, store: Path, on_step: OnStep | None) -> Tunable | None:
        """As `open_tunable`."""
        if self.on is None or not can_be_spread(model_id):
            return open_tunable(model_id, store, self.examples, on_step)
        return SpreadTunable(self._pool(model_id), store=store, on_step=on_step)

    @cached_property
    def _cluster(self) -> Cluster:
        assert self.on is not None  # noqa: S101  only then is there anything to join
        return self._joined(self.on)

    def _size(self) -> int:
        """Workers for each model. CannotMeasure where a model would have none, and wait for one in vain."""
        cluster, on = self._cluster, self._cluster.on
        room, models = cluster.holds(), len(self._sharing)
        size = room // models
        if on.workers is not None:
            size = on.workers if cluster.may_grow else min(on.workers, size)
        if size < 1:
            smaller = f"smaller workers than --per-worker-cpus {on.cpus:g} --per-worker-gpus {on.gpus:g}"
            raise CannotMeasure(
                f"the cluster has room for {room} of the {models} workers that are needed, one for each of"
                f" {', '.join(sorted(self._sharing))}",
                hint=f"{smaller}; or --workers N where the cluster grows by itself" if cluster.may_grow else smaller,
            )
        return size

    def _pool(self, model_id: str) -> Pool:
        """The workers of a model, the same whether it is asked or trained."""
        if model_id not in self._pools:
            pairs = [(each.input, each.target) for each in self.examples] if is_simulated(model_id) else []
            recipe = Recipe(model_id, on_gpu=self._cluster.on.gpus > 0)
            self._pools[model_id] = Pool(self._cluster, recipe, self._size(), pairs)
        return self._pools[model_id]
