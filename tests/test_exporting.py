"""What is exported answers as the run did, or is refused, or is marked as failed."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from shouldtune.errors import CannotMeasure, InputError
from shouldtune.exporting import Wish, export
from shouldtune.exporting.asking import plain
from shouldtune.exporting.folder import MANIFEST, MARKS
from shouldtune.exporting.forms import FORMS
from shouldtune.exporting.prompt_files import run_prompt, write_prompt
from shouldtune.exporting.source import Source, open_source
from shouldtune.models.gguf_cache import sha256_of
from shouldtune.models.gguf_convert import convert_files
from shouldtune.models.plain import Constant
from shouldtune.models.prompted import NearestPassages, NearestShots, Prompted
from shouldtune.retrieval.chunks import Passage
from shouldtune.run import RunRecord
from shouldtune.types import Options
from tests.exporting_world import PACKAGES, again, code_rows, small_run, tiny_run, written
from tests.report_worlds import a_yes
from tests.tiny_llama import LLAMA_3, TEMPLATE, write_tiny_gguf

for name in PACKAGES:
    pytest.importorskip(name)
pytest.importorskip("torch").set_num_threads(1)  # the model is too small for two

CHANGED = TEMPLATE.replace("\n' + message['content']", " ' + message['content']")
RUNGS = ("few_shot", "nearest_shots", "fine_tune")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # between peft and transformers


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunRecord]:
    with tiny_run(tmp_path_factory.mktemp("exporting"), ",".join(RUNGS)) as record:
        yield record


@pytest.fixture(scope="module")
def llama_3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunRecord]:
    """Of a model whose chat template prints the day."""
    with tiny_run(tmp_path_factory.mktemp("llama_3"), "fine_tune", {"template": LLAMA_3}) as record:
        yield record


@pytest.fixture
def transformers() -> None:
    """What is read back through it is tested where it is installed."""
    for name in ("transformers", "peft"):
        pytest.importorskip(name)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


# ---------------------------------------------------------------- what passes


@pytest.mark.parametrize(
    ("rung", "form"),
    [
        ("few_shot", "prompt"),
        ("few_shot", "vllm"),
        ("few_shot", "ollama"),
        ("nearest_shots", "prompt"),
        ("nearest_shots", "vllm"),
        ("fine_tune", "prompt"),
        ("fine_tune", "peft"),
        ("fine_tune", "merged"),
        ("fine_tune", "vllm"),
        ("fine_tune", "ollama"),
    ],
)
def test_an_export_passes_when_it_scores_as_the_run_did(run: RunRecord, out: Path, rung: str, form: str) -> None:
    done = export(run.folder, form, Wish(rung, out))
    assert done.parity.outcome == "passed", done.parity.because
    assert (done.parity.n, done.parity.of, done.parity.differing_prompts) == (36, 36, 0)
    assert not any((out / mark).exists() for mark in MARKS.values())
    told = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    assert (told["rung"], told["form"], told["parity"]["outcome"]) == (rung, form, "passed")
    listed = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} - {MANIFEST}
    assert set(told["files"]) == listed
    assert all(told["files"][name]["sha256"] == sha256_of(out / name) for name in listed)


def test_the_exported_prompt_imports_nothing_of_ours_and_is_the_runs_own(run: RunRecord, out: Path) -> None:
    done = export(run.folder, "prompt", Wish("few_shot", out))
    assert done.parity.same_answers == 36  # the same engine, the same requests
    code = (out / "prompt.py").read_text(encoding="utf-8")
    assert "import " not in code.replace("import prompt", "")
    assert len(code.split("def messages")[1].splitlines()) <= 4


TEXT = "Copy copies copying a file files os.path copy_tree from the disk and back, über Größe naïve boss missed it"
WORDS = TEXT.split()


def test_an_exported_search_finds_what_the_run_finds_ties_and_rounding_included(out: Path) -> None:
    draw = random.Random(3)

    def text() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(0, 12)))

    shots = tuple((text(), f"answer {i}") for i in range(300))
    passages = tuple(Passage(f"d{i}", draw.choice(WORDS), text()) for i in range(200))
    prompt = Prompted(
        Constant("x"), "Do.", (("a", "b"),), NearestShots(shots, 5), NearestPassages(passages, 3), Options(max_tokens=7)
    )
    out.mkdir()
    write_prompt(Source(a_yes(out), "retrieval_shots", prompt), out)
    inputs = [text() for _ in range(200)] + ["", "nothing known", shots[7][0]]
    assert run_prompt(out, inputs) == [plain(prompt.messages(each)[0]) for each in inputs]


@pytest.mark.usefixtures("transformers")
def test_the_model_card_says_what_it_is_and_how_it_scored(run: RunRecord, out: Path) -> None:
    export(run.folder, "merged", Wish("fine_tune", out))
    card = (out / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(card.split("---")[1])
    assert (front["library_name"], front["pipeline_tag"]) == ("transformers", "text-generation")
    assert "license" not in front  # nobody said it
    assert "**passed**, through transformers" in card
    assert run.asked["task_sha256"] in card
    assert "base_model" not in front  # it has no name on the hub
    assert "- base: gguf:tiny.gguf" in card
    manifest = (out / MANIFEST).read_text(encoding="utf-8")
    assert json.loads(manifest)["model"]["model"] == "gguf:tiny.gguf"
    assert str(run.folder.parent.parent.parent) not in manifest + card
    assert f"| fine_tune **(this)** | {next(r for r in run.verdict.rungs if r.name == 'fine_tune').quality:.3f}" in card


@pytest.mark.usefixtures("transformers")
def test_labels_are_scored_by_transformers_as_they_were_here(
    run: RunRecord, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOULDTUNE_CACHE", str(tmp_path / "cache"))
    gguf = write_tiny_gguf(tmp_path / "tiny.gguf")
    labelled = small_run(tmp_path / "labels", f"gguf:{gguf}", "fine_tune", scorer="label")
    done = export(labelled.folder, "merged", Wish("fine_tune", out))
    assert done.parity.outcome == "passed", done.parity.because
    assert "transformers" in done.parity.through
    assert done.parity.same_answers >= 32  # the run's own arithmetic rounds otherwise
    assert "every label was scored" in (out / "README.md").read_text(encoding="utf-8")  # `generate` is another thing


@pytest.mark.parametrize("form", ["peft", "merged", "vllm", "ollama"])
@pytest.mark.usefixtures("transformers")
def test_a_template_that_prints_the_day_prints_the_runs_on_any_day(llama_3: RunRecord, out: Path, form: str) -> None:
    done = export(llama_3.folder, form, Wish("fine_tune", out))
    assert done.parity.differing_prompts == 0
    # Merged weights round otherwise, and this model is unsure: of 36 answers some may flip, as often to right as wrong.
    assert done.parity.outcome in {"passed", "not_shown"}, done.parity.because
    assert done.parity.same_answers >= 32


@pytest.mark.parametrize("rung", ["few_shot", "fine_tune"])
def test_vllm_is_started_from_inside_the_folder_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rung: str
) -> None:
    folder = tmp_path / "o'brien $(touch ran) `touch ran`"
    folder.mkdir()
    convert_files(write_tiny_gguf(tmp_path / "tiny.gguf"), folder)
    record, out = small_run(tmp_path / "task", f"hf:{folder}", rung), tmp_path / "out"
    assert export(record.folder, "vllm", Wish(rung, out)).parity.outcome == "passed"
    vllm = tmp_path / "vllm"
    vllm.write_text('#!/bin/sh\npwd\nfor word; do echo "$word"; done\n', encoding="utf-8")
    vllm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "elsewhere").mkdir()
    command = ["sh", str(out / "serve.sh"), "--port", "8"]
    said = subprocess.run(command, cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=True).stdout
    where, *words = said.splitlines()
    assert Path(where) == out
    assert words[:2] == ["serve", str(folder)]
    assert words[-2:] == ["--port", "8"]
    assert all((out / word.rpartition("=")[2]).exists() for word in words if "./" in word)
    assert not list(tmp_path.rglob("ran"))
    for form in ("peft", "merged") if rung == "fine_tune" else ():
        done = export(record.folder, form, Wish(rung, tmp_path / form))
        assert done.parity.outcome == "passed", done.parity.because
        assert not (tmp_path / form / "base").exists()  # it lies where the task says


# ---------------------------------------------------------------- what fails


SCHEMA = {"type": "object", "properties": {"code": {"type": "string"}}}


@pytest.mark.parametrize("form", ["peft", "merged", "vllm"])
@pytest.mark.parametrize("schema", [None, SCHEMA])  # with a form the engine reads it, without one transformers
@pytest.mark.usefixtures("transformers")
def test_a_changed_chat_template_is_caught_and_shown(
    run: RunRecord, out: Path, form: str, schema: dict[str, object] | None
) -> None:
    source = open_source(run.folder, "fine_tune")
    options = replace(source.prompt.options, schema=schema)
    source = replace(source, prompt=replace(source.prompt, options=options))
    written(source, form, out)
    (out / "chat_template.jinja").write_text(CHANGED, encoding="utf-8")
    parity = again(source, form, out)
    assert parity.outcome == "failed"
    assert parity.differing_prompts == 36
    assert parity.difference is not None
    assert parity.difference.what == "the chat template"
    assert ("engine" in parity.through) == (schema is not None)
    assert parity.difference.run != parity.difference.export


def test_a_changed_prompt_fails_even_where_the_scores_do_not_move(run: RunRecord, out: Path) -> None:
    source = open_source(run.folder, "few_shot")
    code = written(source, "prompt", out) / "prompt.py"
    code.write_text(code.read_text(encoding="utf-8").replace("Name the code.", "Name the code!"), encoding="utf-8")
    parity = again(source, "prompt", out)
    assert parity.outcome == "failed"
    assert "36 of 36 prompts are not the run's: the messages differs" in parity.because[0]


@pytest.mark.parametrize("form", ["prompt", "vllm", "ollama"])
def test_a_changed_request_is_caught(run: RunRecord, out: Path, form: str) -> None:
    source = open_source(run.folder, "few_shot")
    name, whole, cut = ("Modelfile", "num_predict 4", "num_predict 3") if form == "ollama" else (
        "prompt.py", "'max_tokens': 4", "'max_tokens': 3",
    )  # fmt: skip
    file = written(source, form, out) / name
    file.write_text(file.read_text(encoding="utf-8").replace(whole, cut), encoding="utf-8")
    parity = again(source, form, out)
    assert (parity.outcome, parity.differing_prompts) == ("failed", 36)
    assert parity.difference is not None
    assert parity.difference.what == "the request"


def test_an_adapter_that_lost_its_weights_fails_by_its_scores(run: RunRecord, out: Path) -> None:
    from safetensors.torch import load_file, save_file

    source = open_source(run.folder, "fine_tune")
    path = written(source, "peft", out) / "adapter_model.safetensors"
    save_file({name: tensor * 0 for name, tensor in load_file(path).items()}, path)
    parity = again(source, "peft", out)
    assert parity.outcome == "failed"
    assert parity.differing_prompts == 0
    assert parity.gain is not None
    assert parity.gain.high < 0
    assert "worse than what was measured" in parity.because[0]


def test_an_export_that_cannot_be_opened_fails(run: RunRecord, out: Path) -> None:
    source = open_source(run.folder, "fine_tune")
    (written(source, "merged", out) / "model.safetensors").write_bytes(b"cut")
    parity = again(source, "merged", out)
    assert parity.outcome == "failed"
    assert "36 of 36 calls failed" in parity.because[0]


@pytest.mark.parametrize(("name", "text"), [("tokenizer.json", "{}"), ("chat_template.jinja", "{{ no_such() }}")])
def test_an_export_whose_prompts_cannot_be_made_fails(run: RunRecord, out: Path, name: str, text: str) -> None:
    source = open_source(run.folder, "fine_tune")
    (written(source, "peft", out) / name).write_text(text, encoding="utf-8")
    parity = again(source, "peft", out)
    assert (parity.outcome, parity.n) == ("failed", 0)
    assert "it cannot be read back" in parity.because[0]


# ---------------------------------------------------------------- samples, training data


def test_a_sample_is_the_first_rows_of_the_seeded_order_and_says_so(run: RunRecord, out: Path) -> None:
    parity = export(run.folder, "prompt", Wish("few_shot", out, sample=7)).parity
    assert (parity.n, parity.of) == (7, 36)
    assert "compared on 7 of the 36" in parity.because[-1]


def test_training_rows_are_those_that_training_read_and_none_is_held_out(run: RunRecord, out: Path) -> None:
    done = export(run.folder, "jsonl", Wish("fine_tune", out))
    assert done.parity.outcome == "not_scored"
    rows = [json.loads(line) for line in (out / "trl.train.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 74
    assert set(rows[0]) == {"prompt", "completion"}
    assert [turn["role"] for turn in rows[0]["completion"]] == ["assistant"]
    held = {example.input for example in run.holdout}
    assert not held & {row["prompt"][-1]["content"] for row in rows}
    chats = [json.loads(line) for line in (out / "openai.train.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [each["messages"] for each in chats] == [row["prompt"] + row["completion"] for row in rows]
    axolotl = yaml.safe_load((out / "axolotl.yaml").read_text())
    for part, half in (("datasets", "train"), ("test_datasets", "validation")):
        (told,) = axolotl[part]
        assert (out / told["path"]).name == f"axolotl.{half}.jsonl"
        assert (told["ds_type"], told["split"]) == ("json", "train")  # a file of one's own has no other split


def test_rows_that_are_not_the_runs_fail(run: RunRecord, out: Path) -> None:
    source = open_source(run.folder, "fine_tune", rows=True)
    path = written(source, "jsonl", out) / "trl.train.jsonl"
    look = FORMS["jsonl"].looked_at
    assert look(source, out).outcome == "not_scored"
    rows = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(rows[1:]) + "\n", encoding="utf-8")
    assert look(source, out).because == ("trl.train.jsonl does not hold the rows that training reads",)
    held = json.loads(rows[0])
    held["prompt"][-1]["content"] = run.holdout[0].input
    path.write_text("\n".join([json.dumps(held), *rows[1:]]) + "\n", encoding="utf-8")
    parity = look(source, out)
    assert (parity.outcome, parity.because[1]) == ("failed", "trl.train.jsonl holds a held-out example")


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("rung", "form", "said"),
    [
        ("few_shot", "peft", "changed no weights"),
        ("few_shot", "merged", "changed no weights"),
        ("nearest_shots", "ollama", "searches the nearest of its training examples"),
        ("../few_shot", "prompt", "no model of rung"),
        ("few_shot", "../prompt", "no form"),
    ],
)
def test_what_cannot_be_carried_is_refused_with_a_hint(
    run: RunRecord, out: Path, rung: str, form: str, said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        export(run.folder, form, Wish(rung, out))
    assert caught.value.hint
    assert not out.exists()


def test_an_export_that_breaks_off_leaves_nothing(run: RunRecord, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shouldtune.exporting.weights.copy", full)
    with pytest.raises(CannotMeasure, match="No space left"):
        export(run.folder, "peft", Wish("fine_tune", out))
    assert list(out.parent.iterdir()) == []


def test_a_task_that_changed_since_is_not_scored_against(run: RunRecord, out: Path, tmp_path: Path) -> None:
    task = shutil.copytree(run.folder.parent.parent, tmp_path / "task")
    rows = code_rows(121)
    (task / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(InputError, match="has changed since this run"):
        export(task, "prompt", Wish("few_shot", out))
    assert export(task, "prompt", Wish("few_shot", out, parity=False)).parity.outcome == "not_scored"
    with pytest.raises(InputError, match="has changed since this run") as caught:  # its rows are what is wanted
        export(task, "jsonl", Wish("few_shot", tmp_path / "rows", parity=False))
    assert caught.value.hint == "run it again"
