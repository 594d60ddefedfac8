"""Workers: what they answer is what the model here would; what dies with one is asked again, and no more."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shouldtune.asked import Climb
from shouldtune.errors import CannotMeasure, InputError, ModelUnavailable
from shouldtune.ladder import climb
from shouldtune.measure import measure
from shouldtune.models.doubles import Abilities, Scripted
from shouldtune.scorers.text import exact
from shouldtune.task import load_task
from shouldtune.types import Conversation, Example, Message, TuneSettings
from shouldtune.workers import On, Opener
from shouldtune.workers.cluster import Cluster
from shouldtune.workers.pool import Pool
from shouldtune.workers.spread import Spread, SpreadTunable
from shouldtune.workers.wire import Lesson, Recipe, conversations_to_json, write_folder
from tests.conftest import MakeTask, numbered_rows
from tests.in_process_cluster import InProcessCluster
from tests.test_crash import found as found_in
from tests.test_ladder import GOAL, WHOLE

EXAMPLES = [Example(str(i), f"question {i}", f"answer {i}") for i in range(400)]
PAIRS = [(example.input, example.target) for example in EXAMPLES]
ABILITIES = "base=0.6,tuned=0.9,takes=0.01"
HERE = Scripted.knowing(EXAMPLES, Abilities.parse("base=0.6,tuned=0.9"))


def pool_on(cluster: InProcessCluster, abilities: str = ABILITIES, size: int = 0) -> Pool:
    return Pool(cast(Cluster, cluster), Recipe(f"scripted:{abilities}"), size or cluster.holds(), PAIRS)


def answers(model: Any) -> Any:
    return measure(model, EXAMPLES, exact)


async def killing(cluster: InProcessCluster, times: int, seed: int) -> int:
    """Kill a worker now and then; how many calls were lost with them."""
    rng, lost = random.Random(seed), 0
    for _ in range(times):
        await asyncio.sleep(rng.random() * 0.02)
        if busy := [handle for handle in cluster.living if handle.worker._under_way]:
            lost += rng.choice(busy).kill()
    return lost


def test_workers_answer_as_the_model_here_does() -> None:
    async def both() -> tuple[Any, Any]:
        pool = pool_on(InProcessCluster(3))
        there = await answers(Spread(pool))
        await pool.aclose()
        return await answers(HERE), there

    here, there = asyncio.run(both())
    assert here == there


def test_every_worker_gets_its_share() -> None:
    async def shares() -> list[int]:
        cluster = InProcessCluster(4)
        pool = pool_on(cluster)
        await answers(Spread(pool))
        await pool.aclose()
        return [handle.calls for handle in cluster.handles]

    calls = asyncio.run(shares())
    assert len(calls) == 4
    assert sum(calls) == len(EXAMPLES)
    assert min(calls) > len(EXAMPLES) / 4 / 2


@pytest.mark.parametrize("seed", range(4))
def test_what_dies_with_a_worker_is_asked_again_and_nothing_else(seed: int) -> None:
    """Three deaths: a call may be lost twice with one, on its way and as it comes back, and six times is its end."""

    async def run() -> tuple[Any, int, int, int]:
        cluster = InProcessCluster(3)
        pool = pool_on(cluster)
        predicted, lost = await asyncio.gather(answers(Spread(pool)), killing(cluster, 3, seed))
        await pool.aclose()
        return predicted, lost, sum(handle.calls for handle in cluster.handles), pool.replaced

    predicted, lost, calls, replaced = asyncio.run(run())
    assert [(p.completion.text, p.score) for p in predicted] == [
        (p.completion.text, p.score) for p in asyncio.run(answers(HERE))
    ]
    assert replaced > 0
    assert calls - len(EXAMPLES) == sum(p.completion.lost for p in predicted)
    assert calls - len(EXAMPLES) <= lost + replaced * 96  # those on their way to it are under way too


@pytest.mark.parametrize(
    ("asked", "environment", "joined"),
    [
        ("ray", None, "local"),
        ("ray", "10.0.0.1:6379", "10.0.0.1:6379"),
        ("ray://auto", "10.0.0.1:6379", "auto"),
        ("ray://head:10001", None, "ray://head:10001"),
    ],
)
def test_only_a_ray_that_was_named_is_joined(
    asked: str, environment: str | None, joined: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    ray = SimpleNamespace(is_initialized=lambda: False, init=lambda address, **_: told.append(address))
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr("shouldtune.workers.cluster.require_ray", lambda: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if environment is not None:
        monkeypatch.setenv("RAY_ADDRESS", environment)
    on = On.parse(asked)
    assert on is not None
    cluster = Cluster(on)
    assert told == [joined]
    assert cluster.may_grow == (joined != "local")


@pytest.mark.parametrize("kind", ["RayError", "ConnectionError"])
def test_a_cluster_that_refuses_is_told_in_a_line_with_what_to_look_at(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class RayError(Exception):
        """What Ray raises where the token is not its own, or none came."""

    def init(**_: Any) -> None:
        raise RayError("no token") if kind == "RayError" else ConnectionError("no token")

    ray = SimpleNamespace(is_initialized=lambda: False, init=init, exceptions=SimpleNamespace(RayError=RayError))
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr("shouldtune.workers.cluster.require_ray", lambda: None)
    with pytest.raises(CannotMeasure, match="cannot join ray://head:10001: no token") as error:
        Cluster(On("ray://head:10001"))
    assert "RAY_AUTH_MODE=token" in error.value.hint


def test_workers_that_all_die_as_they_start_end_the_run() -> None:
    async def run() -> None:
        cluster = InProcessCluster(2)
        pool = pool_on(cluster)
        cluster.stillborn = True
        cluster.handles[0].dead = True
        try:
            await answers(Spread(pool))
        finally:
            await pool.aclose()

    with pytest.raises(CannotMeasure, match="died before their model was open"):
        asyncio.run(run())


def test_a_node_that_takes_six_workers_of_eight_with_it_ends_no_run() -> None:
    async def node(cluster: InProcessCluster) -> None:
        cluster.opens_in = 0.2  # longer than it takes all six to die
        for handle in cluster.living[:6]:
            await asyncio.sleep(0.005)
            handle.kill()

    predicted = asyncio.run(through(node))
    assert [(p.completion.text, p.score) for p in predicted] == [
        (p.completion.text, p.score) for p in asyncio.run(answers(HERE))
    ]


def test_a_node_that_takes_workers_with_it_while_they_open_ends_no_run() -> None:
    async def node(cluster: InProcessCluster) -> None:
        cluster.opens_in = 0.2
        for _ in range(2):
            for handle in cluster.living:
                handle.kill()
            await asyncio.sleep(0.05)

    predicted = asyncio.run(through(node))
    assert all(p.completion.error is None for p in predicted)


async def through(harm: Callable[[InProcessCluster], Awaitable[None]]) -> Any:
    """What eight workers answer that are busy as the harm begins."""
    cluster = InProcessCluster(8)
    pool = pool_on(cluster, "base=0.6,tuned=0.9,takes=0.1")
    asking = asyncio.create_task(answers(Spread(pool)))
    while sum(bool(handle.worker._under_way) for handle in cluster.living) < 8:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    try:
        await harm(cluster)
        return await asking
    finally:
        await pool.aclose()


@pytest.mark.parametrize("turns", range(20))
def test_a_pool_that_is_closed_as_a_worker_has_opened_is_closed(turns: int) -> None:
    async def run() -> None:
        cluster = InProcessCluster(2)
        pool = pool_on(cluster)
        cluster.opens_in = 3600.0
        asking = asyncio.create_task(answers(Spread(pool)))
        while len(cluster.handles) < 2 or not cluster.handles[1].opening:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        cluster.handles[1].opened.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(30):
            await pool.aclose()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    asyncio.run(run())


def test_a_run_can_be_stopped_while_the_cluster_starts_a_worker() -> None:
    cluster = InProcessCluster(1)
    cluster.room = 0

    async def run() -> None:
        task = asyncio.current_task()
        assert task is not None
        stop = threading.Timer(0.2, task.cancel)  # what asyncio does with Ctrl-C, from outside of the loop as well
        stop.start()
        pool_on(cluster)

    start = perf_counter()
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    assert perf_counter() - start < 30
    assert not cluster.living
    assert not cluster.users


def test_a_cluster_without_room_is_waited_for_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shouldtune.workers.pool.START_S", 1.0)
    cluster = InProcessCluster(1)
    cluster.room = 0

    async def run() -> None:
        pool_on(cluster)

    with pytest.raises(CannotMeasure, match="within 1 s") as error:
        asyncio.run(run())
    assert "ray status" in error.value.hint
    assert not cluster.living


def test_a_worker_that_waits_for_room_does_not_end_the_run_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shouldtune.workers.pool.START_S", 1.0)

    async def run() -> Any:
        cluster = InProcessCluster(1)
        pool = pool_on(cluster, "base=0.6,tuned=0.9,takes=1", size=2)
        asking = asyncio.create_task(measure(Spread(pool), EXAMPLES[:90], exact))
        await asyncio.sleep(0.9)
        for handle in cluster.handles[1:]:
            handle.opens_in = 0.5  # whoever gets the place is no quicker
        cluster.opens_in = 0.5
        cluster.handles[0].kill()
        try:
            return await asking
        finally:
            await pool.aclose()

    assert all(p.completion.error is None for p in asyncio.run(run()))


def test_a_cluster_that_has_no_room_any_more_is_waited_for_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shouldtune.workers.pool.START_S", 1.0)

    async def run() -> None:
        cluster = InProcessCluster(2)
        pool = pool_on(cluster)
        cluster.room = 0
        cluster.handles[0].kill()
        try:
            await answers(Spread(pool))
        finally:
            await pool.aclose()

    with pytest.raises(CannotMeasure, match="within 1 s") as error:
        asyncio.run(run())
    assert "ray status" in error.value.hint


@pytest.mark.parametrize("meanwhile", ["asked", "trained", "opened", "nothing"])
def test_a_lost_connection_ends_the_run_in_a_line_that_says_how_to_go_on(meanwhile: str) -> None:
    async def run() -> None:
        cluster = InProcessCluster(1)
        pool = pool_on(cluster, "base=1,takes=1")
        model = Spread(pool)
        if meanwhile == "opened":
            cluster.opens_in = 5.0
            cluster.handles[0].kill()
        waiting: list[asyncio.Task[Any]] = []
        if meanwhile in {"asked", "opened"}:
            waiting.append(asyncio.create_task(model.complete([Message("user", "question 1")])))
        if meanwhile == "trained":
            waiting.append(asyncio.create_task(pool.train(LESSON, Endless())))
        await asyncio.sleep(0.1)
        cluster.cut()
        waiting.append(asyncio.create_task(model.complete([Message("user", "question 2")])))
        try:
            done, _ = await asyncio.wait(waiting, timeout=3)
        finally:
            await pool.aclose()
        assert len(done) == len(waiting)
        for each in done:
            with pytest.raises(CannotMeasure, match="connection to the cluster was lost") as error:
                each.result()
            assert error.value.hint == "the same command goes on"

    asyncio.run(run())


def test_a_worker_that_reaches_nobody_itself_is_no_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: True)  # so none is started
    cluster = Cluster(On())
    its_own = ray.exceptions.RayTaskError("answer", "its traceback", ConnectionError("no model there"))
    assert isinstance(its_own.as_instanceof_cause(), ConnectionError)
    assert not cluster.is_cut_off(its_own.as_instanceof_cause())
    assert cluster.is_cut_off(ConnectionError("the data client has disconnected"))
    assert cluster.is_cut_off(Exception("Ray Client is not connected. Please connect by calling `ray.init`."))
    assert not cluster.is_cut_off(Exception("a bug"))


class Endless:
    """A reference to what never comes."""

    def __await__(self) -> Any:
        return asyncio.sleep(60).__await__()


def test_a_call_that_nobody_waits_for_is_computed_no_further() -> None:
    async def run() -> int:
        cluster = InProcessCluster(1)
        pool = pool_on(cluster, "base=1,takes=1")
        call = asyncio.create_task(Spread(pool).complete([Message("user", "question 1")]))
        await asyncio.sleep(0.1)
        assert cluster.handles[0].worker._under_way
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await asyncio.sleep(0.01)
        left = len(cluster.handles[0].worker._under_way)
        await pool.aclose()
        return left

    assert asyncio.run(run()) == 0


def test_a_tuned_model_is_known_to_every_worker(tmp_path: Path) -> None:
    async def run() -> tuple[Any, Any]:
        pool = pool_on(InProcessCluster(3))
        tunable = SpreadTunable(pool, store=tmp_path)
        tuned = [model async for model in tunable.tune(TEXTS, TuneSettings(epochs=2))]
        there = await answers(tuned[-1])
        await pool.aclose()
        return tuned[-1].spec(), there

    spec, there = asyncio.run(run())
    assert spec["tuned"]
    here = Scripted(HERE.answers, HERE.abilities, is_tuned=True)
    assert spec == here.spec()
    assert there == asyncio.run(answers(here))


TEXTS = [Conversation((Message("user", "question 1"),), "answer 1")]
LESSON = Lesson(conversations_to_json(TEXTS), asdict(TuneSettings(epochs=1)), 1)


@pytest.mark.parametrize("how", ["dies", "is left"])
def test_a_training_that_was_not_begun_is_not_lost_with_its_worker(how: str) -> None:
    async def run() -> tuple[list[int], Any]:
        cluster = InProcessCluster(1)
        pool = pool_on(cluster, "base=1,takes=0.5")
        asking = asyncio.create_task(measure(Spread(pool), EXAMPLES[:10], exact))
        while not cluster.handles[0].worker._under_way:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        training = asyncio.create_task(pool.train(LESSON, cluster.put(({}, {}))))
        await asyncio.sleep(0.1)
        if how == "dies":
            cluster.handles[0].kill()
        else:
            training.cancel()
        made: Any = (await asyncio.gather(training, return_exceptions=True))[0]
        await asking
        await pool.aclose()
        return [handle.trainings for handle in cluster.handles], made

    trainings, made = asyncio.run(run())
    if how == "dies":
        assert trainings == [0, 1]
        assert made["spec"]["tuned"]
    else:
        assert trainings == [0]


def test_a_file_that_would_lie_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotMeasure, match="with the name"):
        write_folder(tmp_path / "adapter", {"../evil": b""})


@pytest.mark.parametrize("text", ["spark", "ray://", "ray://a b", "http://host"])
def test_another_place_than_ray_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        On.parse(text)


TWO = ("scripted:base=0.5", "scripted:base=0.7", "openai:gpt-4o-mini", None)


def opener_on(cluster: InProcessCluster) -> Opener:
    return Opener(cluster.on, EXAMPLES, TWO, lambda _: cast(Cluster, cluster))


@pytest.mark.parametrize(
    ("room", "workers", "may_grow", "sizes"),
    [
        (5, None, True, [2, 2]),  # what a third model asks is asked elsewhere
        (2, None, False, [1, 1]),
        (1, 3, True, [3, 3]),  # who says how many knows that there will be room
        (4, 3, False, [2, 2]),  # but not more than there can be
        (4, 1, False, [1, 1]),
    ],
)
def test_models_share_what_the_cluster_has_room_for(
    room: int, workers: int | None, may_grow: bool, sizes: list[int], tmp_path: Path
) -> None:
    async def run() -> list[int]:
        cluster = InProcessCluster(room, On(workers=workers))
        cluster.may_grow, opener = may_grow, opener_on(cluster)
        if room < 2:
            cluster.room = 2  # it has grown
        models = [opener.model(TWO[0]), opener.tunable(TWO[1], tmp_path, None)]
        assert all(isinstance(each, Spread) for each in models)
        found = [each.pool.size for each in models if isinstance(each, Spread)]
        for each in models:
            await each.aclose()  # type: ignore[union-attr]
        return found

    assert asyncio.run(run()) == sizes


@pytest.mark.parametrize(("workers", "may_grow"), [(None, True), (None, False), (1, False)])
def test_two_models_for_one_gpu_are_refused_at_once(workers: int | None, may_grow: bool) -> None:
    cluster = InProcessCluster(1, On(workers=workers, gpus=1.0))
    cluster.may_grow = may_grow

    async def run() -> None:
        opener_on(cluster).model(TWO[0])

    with pytest.raises(CannotMeasure, match="room for 1 of the 2 workers") as error:
        asyncio.run(run())
    assert "--per-worker-gpus 1" in error.value.hint
    assert ("--workers N" in error.value.hint) == may_grow
    assert not cluster.handles


def test_workers_without_a_place_are_refused() -> None:
    assert On.parse(None) is None
    with pytest.raises(InputError, match="nothing says where"):
        On.parse(None, workers=2)


def test_a_gpu_and_a_half_is_refused_and_half_of_one_is_not() -> None:
    with pytest.raises(InputError) as error:
        On.parse("ray", gpus=1.5)
    assert error.value.hint == "--per-worker-gpus 2"
    assert On.parse("ray", gpus=0.5) == On(gpus=0.5)
    assert On.parse("ray", gpus=2.0) == On(gpus=2.0)


def test_without_the_package_it_says_how_to_have_it(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    folder = make_task(numbered_rows(60), model="scripted:base=0.5", tune=None)
    with pytest.raises(ModelUnavailable) as error:
        asyncio.run(climb(load_task(folder), Climb(allow_simulated=True, on=On())))
    assert error.value.hint == 'pip install "shouldtune[ray]"'


@pytest.mark.slow
@pytest.mark.parametrize("how", ["nothing", "kills", "node"])
def test_on_a_cluster_the_verdict_is_that_of_one_process(make_task: MakeTask, how: str) -> None:
    pytest.importorskip("ray")
    model = "scripted:base=0.2,shots@4=0.7,tuned=0.95"
    rows = numbered_rows(400)
    here = make_task(rows, name="here", model=model, tune=model, goal=GOAL)
    there = make_task(rows, name="there", model=f"{model},takes=0.3", tune=f"{model},takes=0.3", goal=GOAL)
    record = asyncio.run(climb(load_task(here), WHOLE))
    script = Path(__file__).parent / "ray_world.py"
    done = subprocess.run([sys.executable, str(script), str(there), how], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert same(found["verdict"]) == same((record.folder / "verdict.json").read_text())
    assert found["harm_done"]
    if how == "kills":
        assert found["killed"] == 20
        assert 0 < found["lost"] <= 20 * 96
    if how == "node":
        assert 0 < found["lost"] <= 4 * 96


def same(text: str) -> str:
    """A verdict without how long things took, what the task and model are called, and what was lost."""
    verdict = found_in(text)
    del verdict["provenance"]
    return json.dumps(verdict)
