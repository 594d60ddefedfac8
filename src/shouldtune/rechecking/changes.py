"""What has changed between a finished run and its task as it is now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shouldtune import __version__
from shouldtune.run import RunRecord
from shouldtune.task.contents import Contents, Hashes

Settings = Mapping[str, Any]
MONEY = ("economics", "prompt_price", "tuned_price", "strong_price")
TRAINING = "training_price"
PLAIN = ("instruction", "model", "tune", "strong", "scorer", "seed", "probing", "forecast", "rungs", "all_rungs")
WEIGHTS = {"prompt_model": "model", "tuned_model": "tune", "strong_model": "strong", "judge": "judge"}
"""What a model says of itself in `run.json`, and the key under which it is named."""


@dataclass(frozen=True)
class Rows:
    """Examples of one half, or documents, by id."""

    same: int
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True)
class Setting:
    """One value that is another now."""

    key: str
    was: Any
    now: Any


@dataclass(frozen=True)
class Changes:
    """Everything that is not as it was."""

    holdout: Rows
    train: Rows | None
    """None where the run is from before its training half was recorded."""
    documents: Rows | None
    settings: tuple[Setting, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        rows = (self.holdout, self.train, self.documents)
        return bool(self.settings) or any(each is not None and each.any for each in rows)

    def changed(self, *keys: str) -> tuple[str, ...]:
        """Which of these settings, or of the parts of one, have changed: `model` is also `model's own files`."""
        beginnings = tuple(f"{key}{end}" for key in keys for end in (".", "'s "))
        return tuple(each.key for each in self.settings if each.key in keys or each.key.startswith(beginnings))


def changes(record: RunRecord, before: Contents, asked: Settings, now: Contents) -> Changes:
    """What is asked `now` beside what the run was asked."""
    return Changes(
        holdout=rows_between(before.holdout, now.holdout),
        train=None if before.train is None else rows_between(before.train, now.train or ()),
        documents=None if before.documents is None else rows_between(before.documents, now.documents or ()),
        settings=(*_settings(record.asked, asked), *_models(record.asked, asked, before, now), *_code(before, now)),
        notes=(*_unknown(record, before, asked), *_unrecorded(before, now), *_unpriced(record.asked, asked)),
    )


def rows_between(before: Hashes, now: Hashes) -> Rows:
    """By content first, because an id may only be the number of a line; of the rest, those with one id are changed."""
    old, new = {found: name for name, found in before}, {found: name for name, found in now}
    gone = [name for found, name in old.items() if found not in new]
    come = [name for found, name in new.items() if found not in old]
    changed = tuple(name for name in come if name in set(gone))
    return Rows(
        same=len(old.keys() & new.keys()),
        added=tuple(name for name in come if name not in changed),
        removed=tuple(name for name in gone if name not in changed),
        changed=changed,
    )


def _settings(was: Settings, now: Settings) -> list[Setting]:
    """What was not recorded then is not compared."""
    found = [Setting(key, was[key], now[key]) for key in PLAIN if key in was and key in now and was[key] != now[key]]
    found += _parts("goal", was.get("goal"), now.get("goal"))
    found += _parts("economics", was.get("economics"), now.get("economics"))
    if TRAINING in was and was[TRAINING] != now.get(TRAINING) and was.get("tune") == now.get("tune"):
        found.append(Setting("prices.training", was[TRAINING], now.get(TRAINING)))
    if was.get("shouldtune") not in (None, __version__):
        found.append(Setting("shouldtune", was["shouldtune"], __version__))
    return found


def _parts(name: str, was: Settings | None, now: Settings | None) -> list[Setting]:
    """The values that differ; a price whatever its source says of its date."""
    found: list[Setting] = []
    if was is None or now is None:
        return found
    for key in (key for key in now if key in was):
        old, new = (_unsourced(each[key]) for each in (was, now))
        if old != new:
            label = f"prices.{key.removesuffix('_price')}" if key in MONEY else f"{name}.{key}"
            found.append(Setting(label, old, new))
    return found


def _unsourced(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: part for key, part in value.items() if key != "source" and part is not None}


def _code(before: Contents, now: Contents) -> list[Setting]:
    """What files say that the task file names; another name is told among its settings."""
    schemas = {_schema(before), _schema(now)}
    found = [
        Setting(name, before.files.get(name), now.files.get(name))
        for name in sorted({*before.files, *now.files} - schemas)
        if before.train is not None and before.files.get(name) != now.files.get(name)
    ]
    for key, name, was, said in _named(before, now):
        if was is not None and was != said:
            found.append(Setting(key, f"{name} {was[:16]}", f"{name} {said[:16]}"))
    return found + [
        Setting(key, before.settings[key], now.settings[key])
        for key in sorted(before.settings)
        if key in now.settings and before.settings[key] != now.settings[key]
    ]


def _named(before: Contents, now: Contents) -> list[tuple[str, str, str | None, str]]:
    """(setting, name, hash then, hash now) of the schema file and the kept tasks that both name."""
    found = []
    schema = _schema(now)
    if schema and schema == _schema(before):
        found.append(("output.schema", schema, before.files.get(schema), now.files[schema]))
    for name, digest in (now.kept or {}).items():
        if name in before.settings.get("keep", ()):
            found.append(("keep", name, (before.kept or {}).get(name), digest))
    return found


def _schema(contents: Contents) -> str:
    """The name of the file with the schema, where there is one."""
    named = (contents.settings.get("output") or {}).get("json_schema")
    return named if isinstance(named, str) else ""


def _models(was: Settings, now: Settings, before: Contents, after: Contents) -> list[Setting]:
    """What models of the same name say of themselves that is another thing now."""
    found = []
    for key, named in WEIGHTS.items():
        names = _judges(before, after) if named == "judge" else (was.get(named), now.get(named))
        if None in names or names[0] == names[1]:
            found += _model(named, was.get(key) or {}, now.get(key) or {})
    return found


def _judges(before: Contents, after: Contents) -> tuple[str | None, ...]:
    return tuple((each.settings.get("scoring") or {}).get("judge") for each in (before, after))


def _model(named: str, was: Settings, now: Settings) -> list[Setting]:
    """Its files, and the engine that computes it, which hangs on the machine: answers differ between engines."""
    differ = [key for key in {**was, **now} if was.get(key) != now.get(key)] if was and now else []
    others = [key for key in differ if key != "engine"]
    found = []
    if "revision" in others:
        found.append(Setting(f"{named}'s own files", *(str(each.get("revision"))[:16] for each in (was, now))))
    elif others:
        found.append(Setting(f"{named}'s own files", *({key: each.get(key) for key in others} for each in (was, now))))
    if "engine" in differ:
        found.append(Setting(f"{named}'s engine", was.get("engine"), now.get("engine")))
    return found


def _unknown(record: RunRecord, before: Contents, asked: Settings) -> tuple[str, ...]:
    if before.train is not None or record.asked.get("task_sha256") == asked.get("task_sha256"):
        return ()
    return ("the run is from before its training half was recorded: what changed there cannot be told",)


def _unrecorded(before: Contents, now: Contents) -> list[str]:
    said = "was not recorded then: whether it has changed cannot be told"
    return [f"{name} {said}" for _, name, was, _ in _named(before, now) if was is None]


def _unpriced(was: Settings, now: Settings) -> list[str]:
    if TRAINING in was or TRAINING not in now or was.get("tune") != now["tune"]:
        return []
    return ["what training cost was not recorded then: whether its price has changed cannot be told"]
