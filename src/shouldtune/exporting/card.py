"""The model card of an export: README.md, its front matter as Hugging Face reads it.

Front matter: https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from shouldtune.exporting.parity import Parity
from shouldtune.exporting.source import Source
from shouldtune.judgement import RungResult
from shouldtune.report import words
from shouldtune.report.exports import OUTCOMES
from shouldtune.report.why import FORGOTTEN, kept_in_words
from shouldtune.report.words import one_line

if TYPE_CHECKING:
    from shouldtune.exporting.forms import Form

CARD = "README.md"
SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
_RELATIONS = {"peft": "adapter", "vllm": "adapter", "merged": "finetune", "ollama": "finetune"}
"""What a tuned model is to its base, by form; the others carry no weights."""
WARNINGS = {
    "failed": "This export failed its parity gate: do not ship it.",
    "not_shown": "This export was not shown to score as the run did: too few examples to tell.",
}


def model_card(source: Source, form: Form, parity: Parity) -> str:
    """The whole card."""
    parts = [
        _front_matter(source, form),
        f"# {_text(source.name)}: {source.rung}, as {form.name}",
        *([f"> **{WARNINGS[parity.outcome]}**"] if parity.outcome in WARNINGS else []),
        _what(source),
        "## Use\n\n" + form.use(source),
        "## Scored again through this form\n\n" + _parity(parity),
        "## Results\n\n" + _results(source),
        "## Data\n\n" + _data(source),
        "## Limits\n\n" + _limits(source),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _front_matter(source: Source, form: Form) -> str:
    found: dict[str, object] = {}
    if source.is_local and source.local.identity.id == "smollm2":  # of no other base the name on the hub is known
        found |= {"base_model": SMOLLM2, "license": "apache-2.0"}
        if source.adapter is not None and form.name in _RELATIONS:
            found["base_model_relation"] = _RELATIONS[form.name]
    if form.library is not None:
        found["library_name"] = form.library
        found["pipeline_tag"] = "text-generation"
    found["tags"] = ["shouldtune", *(["lora"] if _RELATIONS.get(form.name) == "adapter" and source.adapter else [])]
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in found.items()]  # JSON is YAML
    return "---\n" + "\n".join(lines) + "\n---"


def _what(source: Source) -> str:
    verdict = source.record.verdict
    answer, clause = words.headline(verdict)
    why = "the rung that the run would ship" if source.rung == verdict.rung else "not the rung that the run would ship"
    simulated = [f"\n> {words.SIMULATED}"] if verdict.simulated else []
    said = f"Should you fine-tune? {answer}: {_text(clause)} This is `{source.rung}`, {why}."
    return "\n".join([said, *simulated])


def _parity(parity: Parity) -> str:
    lines = [f"**{OUTCOMES[parity.outcome]}**" + (f", through {parity.through}" if parity.through else "") + "."]
    if parity.n:
        lines += [
            "",
            "| | run | export |",
            "|---|---|---|",
            f"| mean score on {parity.scored} held-out examples | {words.score(parity.run_score)}"
            f" | {words.score(parity.export_score)} |",
        ]
    lines += ["", *(f"- {_text(line)}" for line in parity.because)]
    if parity.difference is not None:
        lines += ["", "The first prompt that differs, around the first place:", ""]
        lines += _fenced(f"run:    {parity.difference.run!r}\nexport: {parity.difference.export!r}")
    return "\n".join(lines)


def mark(parity: Parity) -> str:
    """What is to be said at first sight in a folder that did not pass."""
    lines, first = list(parity.because), parity.difference
    if first is not None:
        lines += ["", f"The first prompt that differs, around the first place ({first.what}):"]
        lines += [f"run:    {first.run!r}", f"export: {first.export!r}"]
    return words.printable("".join(f"{line}\n" for line in lines))


def _results(source: Source) -> str:
    rows = ["| rung | quality (interval) | held-out examples |", "|---|---|---|"]
    for rung in source.record.verdict.rungs:
        if rung.applied:
            mark = " **(this)**" if rung.name == source.rung else ""
            quality = words.interval(rung.quality, *_limits_of(rung))
            rows.append(f"| {_text(rung.name)}{mark} | {quality} | {rung.n} |")
    level = words.confidence(source.record)
    return "\n".join([*rows, "", f"Intervals hold for all rungs of the run together, at {level:g}."])


def _limits_of(rung: RungResult) -> tuple[float | None, float | None]:
    return rung.low, rung.high


def _data(source: Source) -> str:
    asked = source.record.asked
    lines = [
        f"- {asked.get('train_n')} examples to learn from, {asked.get('holdout_n')} held out; seed {asked.get('seed')}",
        f"- SHA-256 of the task (file, examples, documents, scorer): `{asked.get('task_sha256')}`",
        f"- run: `{source.record.folder.name}`, of {_text(asked.get('created', 'an unknown day'))}",
    ]
    lines.append(f"- {'base' if source.adapter else 'model'}: {_text(source.model_name)}")
    if source.is_local:
        spec = source.model.spec()
        lines.append(f"- SHA-256 of the base weights: `{spec['revision']}`, computed by {spec['engine']}")
        if spec["adapter"]:
            lines.append(f"- SHA-256 of the adapter: `{spec['adapter']['sha256']}`")
    return "\n".join(lines)


def _limits(source: Source) -> str:
    lines = [
        f"- Measured on the held-out rows of the task {_text(source.name)} alone; of other inputs nothing is known.",
        f"- What the answers are scored by: `{_text(source.record.asked.get('scorer'))}`.",
    ]
    if source.measurement.stopped_because:
        lines.append(f"- It was not asked the whole holdout: {_text(source.measurement.stopped_because)}.")
    forgotten = source.record.verdict.forgetting
    if forgotten is not None and forgotten.rung == source.measurement.rung:
        lines += [f"- {FORGOTTEN}: {_text(line)}" for line in kept_in_words(forgotten)]
    return "\n".join(lines)


def _text(value: object) -> str:
    """One printable line that Markdown takes as words: it may come from a user or a model."""
    line = one_line(value)
    for sign in "\\`*[]<>|":
        line = line.replace(sign, f"\\{sign}")
    return line


def _fenced(text: str) -> list[str]:
    fence = "```"
    while fence in text:
        fence += "`"
    return [fence + "text", words.printable(text), fence]
