"""An Ollama export says what the run asked, names files that Ollama opens, and holds the weights that were measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from shouldtune.errors import InputError
from shouldtune.exporting import Wish, export, modelfile
from shouldtune.exporting.merging import merged_weights
from shouldtune.exporting.modelfile import parse
from shouldtune.exporting.source import Source, open_source
from shouldtune.exporting.tuned_gguf import adds_first_token, write_tuned_gguf
from shouldtune.models.gguf_convert import convert_files
from shouldtune.models.gguf_file import GgufFile
from shouldtune.run import RunRecord
from tests.exporting_world import PACKAGES, again, small_run, tiny_run, written
from tests.tiny_llama import LLAMA_3

for name in PACKAGES:
    pytest.importorskip(name)
pytest.importorskip("torch").set_num_threads(1)  # the model is too small for two


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunRecord]:
    with tiny_run(tmp_path_factory.mktemp("ollama"), "few_shot,fine_tune") as record:
        yield record


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


# ---------------------------------------------------------------- the model that it names


def test_a_tuned_model_is_one_file_for_ollama_takes_no_adapters(run: RunRecord, out: Path) -> None:
    done = export(run.folder, "ollama", Wish("fine_tune", out))
    assert done.parity.outcome == "passed", done.parity.because
    told = dict(parse((out / "Modelfile").read_text(encoding="utf-8")))
    assert "ADAPTER" not in told
    base, tuned = GgufFile(run.folder.parent.parent.parent / "tiny.gguf"), GgufFile(out / told["FROM"])
    assert tuned.tensors.keys() == base.tensors.keys()
    assert {**tuned.fields, "general.file_type": None} == {**base.fields, "general.file_type": None}
    kinds = {name: tensor.kind for name, tensor in tuned.tensors.items()}
    assert kinds["token_embd.weight"] == base.tensors["token_embd.weight"].kind  # what did not change is the base's own
    assert kinds["blk.0.attn_q.weight"] == 1  # float16


def test_rows_in_another_order_than_llama_cpp_reads_them_fail_by_their_scores(run: RunRecord, out: Path) -> None:
    source = open_source(run.folder, "fine_tune")
    written(source, "ollama", out)
    assert again(source, "ollama", out).outcome == "passed"
    assert source.adapter is not None
    merged = merged_weights(source.local.identity.folder, source.adapter)
    (out / "tuned.gguf").unlink()
    write_tuned_gguf(run.folder.parent.parent.parent / "tiny.gguf", merged, 2, out / "tuned.gguf")
    parity = again(source, "ollama", out)
    assert (parity.outcome, parity.differing_prompts) == ("failed", 0)


def test_a_tuned_model_without_a_gguf_is_a_folder_that_ollama_finds_weights_in(run: RunRecord, tmp_path: Path) -> None:
    folder = tmp_path / "hf"
    folder.mkdir()
    convert_files(run.folder.parent.parent.parent / "tiny.gguf", folder)
    record = small_run(tmp_path / "task", f"hf:{folder}", "few_shot,fine_tune")
    for rung, place in (("fine_tune", "./tuned"), ("few_shot", str(folder))):
        out = tmp_path / rung
        done = export(record.folder, "ollama", Wish(rung, out))
        assert done.parity.outcome == "passed", done.parity.because
        told = dict(parse((out / "Modelfile").read_text(encoding="utf-8")))
        assert told["FROM"] == place
        assert list((out / place).glob("model*.safetensors"))  # what Ollama's parser looks for


# ---------------------------------------------------------------- the Modelfile


def test_a_changed_modelfile_is_caught(run: RunRecord, out: Path) -> None:
    source = open_source(run.folder, "few_shot")
    file = written(source, "ollama", out) / "Modelfile"
    file.write_text(file.read_text(encoding="utf-8").replace("Name the code.", "Name a code."), encoding="utf-8")
    parity = again(source, "ollama", out)
    assert parity.outcome == "failed"
    assert parity.difference is not None
    assert parity.difference.what == "the messages"
    assert "Name a code." in parity.difference.export


def test_a_modelfile_says_all_that_the_run_asked(run: RunRecord, out: Path) -> None:
    written(open_source(run.folder, "few_shot"), "ollama", out)
    told = parse((out / "Modelfile").read_text(encoding="utf-8"))
    assert told[0] == ("FROM", "./base.gguf")
    assert ("SYSTEM", "Name the code.") in told
    said = [text.split(" ", 1)[0] for name, text in told if name == "MESSAGE"]
    assert said == ["user", "assistant"] * (len(said) // 2)
    assert said
    assert {text.split(" ", 1)[0] for name, text in told if name == "PARAMETER"} == {
        "temperature", "seed", "repeat_penalty", "num_predict", "num_ctx", "stop",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["FROM a\nFROM b\n", "RUN x\nFROM a\n", "FROM a\nMESSAGE robot hi\n", "SYSTEM a\n", "FROM a\nPARAMETER x\n"]
)
def test_what_is_no_modelfile_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse(text)


def prompted(run: RunRecord, instruction: str, stop: tuple[str, ...] = ()) -> Source:
    """The run's, with another instruction and other words that end an answer."""
    source = open_source(run.folder, "few_shot")
    options = replace(source.prompt.options, stop=stop)
    return replace(source, prompt=replace(source.prompt, instruction=instruction, options=options))


@pytest.mark.parametrize(
    "text", ["Prix : 10\u00a0€", "名前\u3000", "a\u200bb", "x\u00ady", "\U0001f468\u200d\U0001f469", "\x1b"]
)
def test_what_ollama_would_drop_is_refused_before_anything_is_written(run: RunRecord, text: str) -> None:
    for source in (prompted(run, text), prompted(run, "Do.", (text,))):
        with pytest.raises(InputError, match=r"U\+[0-9A-F]{4}, which Ollama drops") as caught:
            modelfile.refuse(source)
        assert caught.value.hint
    assert ("SYSTEM", text) not in parse(f'FROM a\nSYSTEM """{text}"""\n')  # read back as Ollama reads it


@pytest.mark.parametrize(
    "text", ["one\r\ntwo", "one\ttab\n", 'say "x" now', "Größe 名前 👍", "  two spaces ", "back\\slash"]
)
def test_every_other_text_comes_out_as_it_went_in(run: RunRecord, out: Path, text: str) -> None:
    source = prompted(run, text, (text, "\n"))
    modelfile.refuse(source)
    written(source, "ollama", out)
    told = modelfile.read_modelfile(out)
    assert ("SYSTEM", text) in told
    assert [value for name, value in told if name == "PARAMETER" and value.startswith("stop ")][-2:] == [
        f"stop {text}",
        "stop \n",
    ]


# ---------------------------------------------------------------- chat templates like Llama 3's


@pytest.mark.parametrize("adds_bos", [True, False])
def test_the_first_token_is_sent_once_whoever_puts_it_there(tmp_path: Path, out: Path, adds_bos: bool) -> None:
    model = {"template": LLAMA_3, "window": 1 << 17, "adds_bos": adds_bos}
    with tiny_run(tmp_path, "few_shot", model) as record:
        done = export(record.folder, "ollama", Wish("few_shot", out))
        assert done.parity.outcome == "passed", done.parity.because
        told = modelfile.read_modelfile(out)
        assert ("<|im_start|>" in dict(told)["TEMPLATE"]) != adds_bos
        assert ("PARAMETER", "num_ctx 2048") in told  # not the whole window: its memory would be set aside
        told = dict(parse(modelfile.modelfile(prompted(record, ""), "a")))  # no system message: the block still stands
        assert "SYSTEM" not in told
        block = "<|endoftext|>system\nToday Date: 1 January 2025\n\n<|im_end|>"
        assert f"{{{{ if not .System }}}}{block}{{{{ end }}}}{{{{ range" in told["TEMPLATE"]


def test_a_first_token_that_the_run_had_not_is_refused(tmp_path: Path, out: Path) -> None:
    with tiny_run(tmp_path, "few_shot", {"adds_bos": True}) as record, pytest.raises(InputError) as caught:
        export(record.folder, "ollama", Wish("few_shot", out))
    assert "before every prompt, and the run's had none" in str(caught.value)
    assert not out.exists()


@pytest.mark.parametrize(
    ("family", "words", "told", "adds"),
    [
        ("llama", None, None, True),
        ("gpt2", "llama-bpe", None, True),
        ("gpt2", "smollm", None, False),
        ("gpt2", "llama-bpe", False, False),
    ],
)
def test_which_tokenizers_put_the_first_token_is_llama_cpps_rule(
    family: str, words: str | None, told: bool | None, adds: bool
) -> None:
    fields = {"tokenizer.ggml.model": family, "tokenizer.ggml.pre": words, "tokenizer.ggml.add_bos_token": told}
    file = SimpleNamespace(fields={name: value for name, value in fields.items() if value is not None})
    assert adds_first_token(cast("GgufFile", file)) == adds
