"""What the blog post "Should you fine-tune a model?" claims, beside what was measured here: docs/the-post.md.

    python benchmarks/the_post.py run NAME...    # climb a task (an example's or a public data set's), keep its figures
    python benchmarks/the_post.py write          # docs/the-post.md from the figures kept in benchmarks/the-post/
    python benchmarks/the_post.py names          # the tasks that there are

Of public data every rung that applies is asked (`--all-rungs`), of an example as many as the answer takes. A run that
is repeated is answered from its ledger. Public data stay where they are (SHOULDTUNE_DATA, or ../shared/data). What is
kept of a run is one small JSON file: its verdict.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from claims import CLAIMS, Claim
from shared_tasks import DATA, HERE, TASKS, make

KEPT, PAGE = HERE / "the-post", HERE.parent / "docs" / "the-post.md"
EXAMPLES = HERE.parent / "examples"
OF_A_RUNG = [
    "name",
    "applied",
    "training",
    "uses_llm",
    "skipped_because",
    "quality",
    "low",
    "high",
    "n",
    "unmeasured",
    "stopped_because",
    "metrics",
    "notes",
    "seconds_per_1k",
    "fit_seconds",
    "prompt_tokens_mean",
]
OF_WHAT_WAS_ASKED = ("model", "tune", "goal", "scorer", "train_n", "holdout_n", "documents_n")
Run = Mapping[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=["run", "write", "names"])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--rungs", help="only these")
    parser.add_argument("--no-probes", action="store_true", help="do not ask why prompts fail, which takes long")
    parser.add_argument(
        "--train", type=int, help="of public data at most so many rows to learn from, to take less long"
    )
    asked = parser.parse_args()
    if asked.do == "names":
        print("\n".join(names()))
    elif asked.do == "write":
        PAGE.write_text(page(kept()), encoding="utf-8")
        print(f"wrote {PAGE}")
    else:
        for name in asked.names:
            keep(name, run(name, asked.rungs, probes=not asked.no_probes, train=asked.train))


def names() -> list[str]:
    """Examples first; public data sets where they are at hand."""
    ours = sorted(path.parent.name for path in EXAMPLES.glob("*/shouldtune.yaml"))
    return ours + (list(TASKS) if DATA.is_dir() else [])


def folder_of(name: str, train: int | None = None) -> Path:
    """The task's folder: an example's is copied, so that runs stay out of it."""
    if name in TASKS:
        if not DATA.is_dir():
            sys.exit(f"the public data sets are not at {DATA}: set SHOULDTUNE_DATA")
        return make(name, train)
    source, target = EXAMPLES / name, HERE / "tasks" / f"example-{name}"
    if not source.is_dir():
        sys.exit(f"there is no task {name!r}; one of {', '.join(names())}")
    for file in source.rglob("*"):
        if file.is_file() and "runs" not in file.parts:
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
    return target


def run(name: str, rungs: str | None, *, probes: bool, train: int | None = None) -> dict[str, Any]:
    """Climb, and return the verdict document."""
    command = [sys.executable, "-m", "shouldtune.cli", "run", str(folder_of(name, train)), "--json"]
    command += ["--all-rungs"] if name in TASKS else []
    command += ["--rungs", rungs] if rungs else []
    command += [] if probes else ["--no-probes"]
    start = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def keep(name: str, verdict: Run) -> None:
    """Write down what the page and a reader need of a verdict."""
    why, told = verdict.get("diagnosis") or {}, verdict["provenance"]
    small = {
        "task": name,
        "date": datetime.now(UTC).date().isoformat(),
        "answer": verdict["answer"],
        "reason": verdict["reason"],
        "rung": verdict["rung"],
        "because": verdict["because"],
        "rungs": [{key: rung.get(key) for key in OF_A_RUNG} for rung in verdict["rungs"]],
        "shares": why.get("shares") or [],
        "probed": why.get("rung"),
        "forgetting": verdict.get("forgetting"),
        "asked": {key: told.get(key) for key in OF_WHAT_WAS_ASKED},
        "engine": (told.get("prompt_model") or {}).get("engine"),
    }
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{name}.json").write_text(json.dumps(small, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def kept() -> dict[str, Run]:
    """The runs that were kept, by task."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(KEPT.glob("*.json"))}


# ---------------------------------------------------------------- the page


def page(runs: Mapping[str, Run]) -> str:
    """The whole page as Markdown."""
    return "\n".join([*_head(runs), *_claims(runs), *_tasks(runs), ""])


def _head(runs: Mapping[str, Run]) -> Iterator[str]:
    dates = sorted(run["date"] for run in runs.values())
    yield '# What "Should you fine-tune a model?" claims, and what was measured'
    yield ""
    yield "The blog post of 2023 that this project grew from speaks of large hosted models. Here every claim is put to"
    yield "the test on SmolLM2-135M-Instruct, a thousand times smaller, on two cores of a processor: what it shows is"
    yield "how the question is settled, and where size changes the answer. In brackets are the intervals that decide."
    if dates:
        when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
        yield f"Runs of {when}. `python benchmarks/the_post.py write` makes this page from"
        yield "`benchmarks/the-post/`."
    yield ""


def _claims(runs: Mapping[str, Run]) -> Iterator[str]:
    yield "| # | the post says | task | best without training | best tuned | verdict | seen here |"
    yield "|---|---|---|---|---|---|---|"
    for number, claim in enumerate(CLAIMS, 1):
        tasks = [name for name in claim.tasks if name in runs]
        rows = [_beside(runs[name]) for name in tasks] or [("", "", "")]
        for place, (name, cells) in enumerate(zip(tasks or ["not run yet"], rows, strict=True)):
            first = (str(number), claim.says) if place == 0 else ("", "")
            yield "| " + " | ".join((*first, _link(name), *cells, _seen(claim) if place == 0 else "")) + " |"
    yield ""


def _seen(claim: Claim) -> str:
    return claim.seen or "-"


def _link(name: str) -> str:
    return f"[{name}](#{name})" if name != "not run yet" else name


def _beside(run: Run) -> tuple[str, str, str]:
    applied = [rung for rung in run["rungs"] if rung["applied"] and rung["quality"] is not None]
    cells = [_best([r for r in applied if bool(r["training"]) == training]) for training in (False, True)]
    return cells[0], cells[1], f"{run['answer'].replace('_', ' ')} / `{run['reason']}`"


def _best(rungs: list[Run]) -> str:
    best = max(rungs, key=lambda rung: rung["quality"], default=None)
    return "-" if best is None else f"`{best['name']}` {_figure(best)}"


def _figure(rung: Run) -> str:
    return f"{rung['quality']:.3f} ({rung['low']:.2f} to {rung['high']:.2f}; n {rung['n']})"


def _tasks(runs: Mapping[str, Run]) -> Iterator[str]:
    for name, run in runs.items():
        asked = run["asked"]
        yield f"## {name}"
        yield ""
        goal = (asked.get("goal") or {}).get("quality")
        rows = f"{asked['train_n']} examples to learn from, {asked['holdout_n']} held out"
        scorer = json.dumps(asked["scorer"])
        yield f"Scorer {scorer}; {rows}; {asked['documents_n']} documents; goal {goal}. {run['date']}."
        yield ""
        yield f"**{run['answer'].replace('_', ' ')} / {run['reason']}**: {run['because'][0]}"
        yield ""
        yield "| rung | quality | n | metrics |"
        yield "|---|---|---|---|"
        for rung in run["rungs"]:
            yield _line(rung)
        yield ""
        yield from _beside_it(run)


def _line(rung: Run) -> str:
    if not rung["applied"] or rung["quality"] is None:
        return f"| {rung['name']} | - | | {rung['skipped_because'] or 'not measured'} |"
    metrics = ", ".join(f"{key} {value:.2f}" for key, value in list((rung["metrics"] or {}).items())[:6])
    figure = f"{rung['quality']:.3f} ({rung['low']:.3f} to {rung['high']:.3f})"
    return f"| {rung['name']} | {figure} | {rung['n']} | {metrics} |"


def _beside_it(run: Run) -> Iterator[str]:
    lines = []
    if run["shares"]:
        said = [f"{each['segment']} {_span(each['share'])}" for each in run["shares"]]
        lines.append(f"Why `{run['probed']}` fails: {', '.join(said)}.")
    for each in (run["forgetting"] or {}).get("kept", ()):
        change = _span(each["change"])
        lines.append(
            f"Forgetting, {each['what']}: {each['base']:.2f} before tuning, {each['tuned']:.2f} after; {change}."
        )
    for rung in run["rungs"]:
        lines += [f"{rung['name']}: {note}." for note in rung["notes"] or () if "never learnt" in note]
    for line in lines:
        yield f"- {line}"
    if lines:
        yield ""


def _span(interval: Mapping[str, Any]) -> str:
    estimate = "-" if interval["estimate"] is None else f"{interval['estimate']:.2f}"
    return f"{estimate} ({interval['low']:.2f} to {interval['high']:.2f})"


if __name__ == "__main__":
    main()
