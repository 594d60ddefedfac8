"""How often is the verdict wrong, and what does stopping early save? A bank of worlds with known truth.

Every class of worlds.py is drawn `worlds` times at each size, raced as a climb races it, and measured whole beside. The
mix stands in mix.toml. Prints the tables and writes them, between two marks, into benchmarks/README.md, and a short
one into README.md:

- *false*: an answer whose own *when* is untrue of the true means. A yes is also false where a rung without training
  meets the goal; a gain exactly at the margin is worthwhile. *Goal met* counts among the false no, too.
- *open*: neither yes, no, nor a firm not-yet (mend the data, mend retrieval, out of reach).
- *agrees*: the same answer and reason as with everything measured, where that is not open.
- *clear, settled*: not open, where the true gain exceeds `worthwhile_gain` by twice the smallest visible gain.
- *calls*: asked of the rungs that ask a model, as a share of asking every one of them on the whole holdout.

    python benchmarks/verdicts/bank.py [worlds=N] [sizes=300,1000] [jobs=2] [seed=0] [class ...]

With anything said, nothing is written. The race was tuned on other seeds than 0. Worlds that were played by the same
code are kept in `.bank/`, so that a run that was cut off goes on.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from play import Game, play
from worlds import CLASSES, SIZED

import shouldtune
from shouldtune.stats import clopper_pearson

HERE = Path(__file__).parent
PAGES = HERE.parent / "README.md", HERE.parent.parent / "README.md"
"""Every table, and a short one."""
MARKS = ("<!-- benchmarks/verdicts/bank.py writes from here -->", "<!-- to here -->")
TIES = "rungs_tie"
BLOCK = 50
"""Worlds that one process plays at a time, and that are kept together."""

Key = tuple[str, int]
"""A class and a size; 0 where the class has its own."""


def main(arguments: Sequence[str]) -> None:
    mix = tomllib.loads((HERE / "mix.toml").read_text(encoding="utf-8"))
    options = dict(word.split("=", 1) for word in arguments if "=" in word)
    names = [word for word in arguments if "=" not in word] or list(CLASSES)
    worlds = int(options.get("worlds", mix["worlds"]))
    sizes = [int(size) for size in options.get("sizes", ",".join(map(str, mix["sizes"]))).split(",")]
    keys = [(name, size) for name in names for size in ([0] if name in SIZED else sizes)]
    seed, jobs = int(options.get("seed", 0)), int(options.get("jobs", os.cpu_count() or 1))
    games = play_all(keys, worlds, jobs, seed)
    text = report(games, mix["weights"], worlds, sizes)
    print(text)
    short = summary(games, mix["weights"], worlds, sizes)
    print(f"\n{short}")
    if not arguments:
        write(PAGES[0], text)
        write(PAGES[1], short)


def play_all(keys: Sequence[Key], worlds: int, jobs: int, seed: int = 0) -> dict[Key, list[Game]]:
    """Every world, in the order of its number, whatever the number of processes."""
    kept = HERE / ".bank" / _code()
    kept.mkdir(parents=True, exist_ok=True)
    starts = range(0, worlds, BLOCK)
    blocks = [(name, size, at, min(at + BLOCK, worlds), seed) for name, size in keys for at in starts]
    files = {block: kept / f"{'-'.join(map(str, block))}.json" for block in blocks}
    missing = [block for block in blocks if not files[block].exists()]
    with multiprocessing.Pool(jobs, initializer=os.nice, initargs=(10,)) as pool:
        for done, (block, played) in enumerate(zip(missing, pool.imap(_block, missing), strict=True), 1):
            files[block].write_text(json.dumps([asdict(game) for game in played]))
            print(f"\r{done} of {len(missing)} blocks: {block[0]}", end="", file=sys.stderr, flush=True)
    games: dict[Key, list[Game]] = {key: [] for key in keys}
    for (name, size, *_), file in files.items():
        games[name, size] += [Game(**game) for game in json.loads(file.read_text())]
    return games


def _code() -> str:
    """The hash of the code that plays."""
    source = Path(shouldtune.__file__).parent
    files = [file for folder in (HERE, source / "stats", source / "verdict") for file in sorted(folder.glob("*.py"))]
    played = [file for file in files if file.name != "bank.py"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in played)).hexdigest()[:12]


def _block(block: tuple[str, int, int, int, int]) -> list[Game]:
    name, size, start, stop, seed = block
    number = list(CLASSES).index(name)
    played = []
    for i in range(start, stop):
        rng = np.random.default_rng([number, size, i, seed])
        played.append(play(CLASSES[name](rng, size), rng))
    return played


# ---------------------------------------------------------------- the tables


def report(games: Mapping[Key, list[Game]], weights: Mapping[str, float], worlds: int, sizes: Sequence[int]) -> str:
    """The tables, one a size and one over all, in Markdown."""
    lines = [
        f"{worlds:,} worlds a class and size, eight rungs without training, worthwhile gain 0.03, confidence 0.95;"
        " in brackets the upper 95% limit.",
    ]
    for size in (*sizes, 0):
        rows = {name: played for (name, n), played in games.items() if n == size}
        if rows:
            heading = f"{size} held-out examples" if size else "sizes of their own"
            lines += ["", f"**{heading}**", "", *_heading("worlds")]
            lines += [_row(name.replace("_", " "), [played], [1.0]) for name, played in rows.items()]
            if size:
                lines.append(_mixed(f"the mix at {size}", rows, weights))
                lines.append(_mixed("the mix without ties", {n: g for n, g in rows.items() if n != TIES}, weights))
    lines += ["", "**All**", "", *_heading("worlds"), _mixed("the mix", games, weights)]
    lines += ["", *_wrong(games)]
    return "\n".join(lines)


COLUMNS = (
    "false yes",
    "false no",
    "false goal met",
    "false not yet",
    "false with all asked",
    "open",
    "open with all asked",
    "agrees",
    "clear, settled",
    "calls",
)


def _heading(first: str) -> list[str]:
    return [f"| {first} | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]


def _mixed(name: str, rows: Mapping[Any, list[Game]], weights: Mapping[str, float]) -> str:
    names = [key if isinstance(key, str) else key[0] for key in rows]
    shares = [weights[n] / names.count(n) for n in names]
    return _row(f"**{name}**", list(rows.values()), shares)


def _row(name: str, groups: Sequence[list[Game]], weights: Sequence[float]) -> str:
    def rate(flags: Sequence[Sequence[bool]], digits: int = 3, *, limit: bool = True) -> str:
        return _rate(flags, weights, digits, limit=limit)

    cells = [
        rate([[g.false == "yes" for g in played] for played in groups]),
        rate([[g.false == "no" for g in played] for played in groups]),
        rate([[g.false_goal_met for g in played] for played in groups]),
        rate([[g.false == "not_yet" for g in played] for played in groups]),
        rate([[g.false_whole for g in played] for played in groups]),
        rate([[_open(g.found) for g in played] for played in groups], 2),
        rate([[_open(g.whole) for g in played] for played in groups], 2, limit=False),
        _among([[g.found == g.whole for g in played if not _open(g.whole)] for played in groups], weights),
        _among([[not _open(g.found) for g in played if g.clear] for played in groups], weights),
        _mean([[g.calls for g in played] for played in groups], weights),
    ]
    return f"| {name} | {' | '.join(cells)} |"


def _open(said: str) -> bool:
    return said == "not_yet open"


def _rate(flags: Sequence[Sequence[bool]], weights: Sequence[float], digits: int, *, limit: bool) -> str:
    """A weighted rate with its upper 95% limit: exact, on the effective number of worlds (Kish)."""
    known = [(weight, group) for weight, group in zip(weights, flags, strict=True) if len(group)]
    if not known:
        return "-"
    total = sum(weight for weight, _ in known)
    share = sum(weight / total * float(np.mean(group)) for weight, group in known)
    if not limit:
        return f"{share:.{digits}f}"
    n = math.floor(1 / sum((weight / total) ** 2 / len(group) for weight, group in known) + 1e-6)
    return f"{share:.{digits}f} ({clopper_pearson(math.ceil(share * n - 1e-9), n, 0.1).high:.{digits}f})"


def _among(flags: Sequence[Sequence[bool]], weights: Sequence[float]) -> str:
    """A rate among some worlds of each class: a class counts by how many of them it has."""
    among = sum(weight * len(group) for weight, group in zip(weights, flags, strict=True))
    hits = sum(weight * sum(group) for weight, group in zip(weights, flags, strict=True))
    return f"{hits / among:.3f}" if among else "-"


def _mean(values: Sequence[Sequence[float]], weights: Sequence[float]) -> str:
    total = sum(weights)
    mean = sum(w / total * float(np.mean(v)) for w, v in zip(weights, values, strict=True))
    error = math.sqrt(sum((w / total) ** 2 * float(np.var(v)) / len(v) for w, v in zip(weights, values, strict=True)))
    return f"{mean:.3f} ({mean + 1.645 * error:.3f})"


def _wrong(games: Mapping[Key, list[Game]]) -> Iterable[str]:
    """Which false answers there were."""
    found: dict[str, int] = {}
    for (name, _), played in games.items():
        for game in played:
            if game.false:
                what = f"{name.replace('_', ' ')}: {game.found} where it is {game.true}"
                found[what] = found.get(what, 0) + 1
    if not found:
        return ["No false answer at all."]
    first = sorted(found.items(), key=lambda item: -item[1])[:8]
    return [f"The commonest false answers of {sum(found.values())}: {'; '.join(f'{w} ({k})' for w, k in first)}."]


def summary(games: Mapping[Key, list[Game]], weights: Mapping[str, float], worlds: int, sizes: Sequence[int]) -> str:
    """The table for people in a hurry: the mix, and beside it the worst class."""
    first = f"{worlds:,} worlds in each of {len({name for name, _ in games})} classes"
    names = ("false yes", "false no", "false goal met", "as with everything asked", "clear, settled", "calls")
    lines = [f"| {first} | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for size in sizes:
        rows = {name: played for (name, n), played in games.items() if n == size}
        groups, shares = list(rows.values()), [weights[name] for name in rows]
        cells = []
        for is_it in (_says("yes"), _says("no"), lambda g: g.false_goal_met):
            worst = max(float(np.mean([is_it(g) for g in played])) for played in groups)
            mixed = _rate([[is_it(g) for g in played] for played in groups], shares, 3, limit=True)
            cells.append(f"{mixed}; worst class {worst:.3f}")
        agree = [[g.found == g.whole for g in played if not _open(g.whole)] for played in groups]
        clear = [[not _open(g.found) for g in played if g.clear] for played in groups]
        cells += [_among(flags, shares) for flags in (agree, clear)]
        without = [(played, weights[name]) for name, played in rows.items() if name != TIES]
        cells.append(_mean([[g.calls for g in played] for played, _ in without], [share for _, share in without]))
        lines.append(f"| {size} held-out examples | {' | '.join(cells)} |")
    return "\n".join(lines)


def _says(answer: str) -> Callable[[Game], bool]:
    return lambda game: game.false == answer


def write(page: Path, text: str) -> None:
    """Put the tables between their marks."""
    before, rest = page.read_text(encoding="utf-8").split(MARKS[0])
    page.write_text(f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{rest.split(MARKS[1])[1]}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
