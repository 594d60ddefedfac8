"""Task files and data: what is read, and what is refused in one clear line."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from shouldtune.errors import InputError
from shouldtune.judgement import Economics, Price
from shouldtune.task import load_task
from shouldtune.task.documents import read_documents
from shouldtune.task.file import TaskFile
from shouldtune.task.rows import read_rows
from shouldtune.task.split import near_duplicates, split
from shouldtune.types import Example
from tests.conftest import MakeTask, numbered_rows


def refusal(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        load_task(path)
    assert "\n" not in str(caught.value)
    return caught.value


# ---------------------------------------------------------------- the task file


def test_a_task_is_read_with_its_goal_and_split(make_task: MakeTask) -> None:
    loaded = load_task(make_task(numbered_rows(200), goal={"quality": 0.8}))
    assert loaded.task.goal.quality == 0.8
    assert len(loaded.holdout) == 60
    assert len(loaded.task.train) == 140
    assert not {e.id for e in loaded.task.train} & {e.id for e in loaded.holdout}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("name: a\nname: b\n", 2, "stands twice"),
        ("name: a\ninstruction: [\n", 3, "not valid YAML"),
        ("name: !!python/object/apply:os.system [id]\n", 1, "tag"),
        ("- a list\n", 1, "mapping"),
        ("name: a\ninstruction: b\nexamples: c\ngaol: {}\n", 4, "unknown key `gaol`"),
        ("name: a\ninstruction: b\nexamples: c\ngoal:\n  quality: 3\n", 5, "quality"),
        ("name: a\ninstruction: b\nexamples: c\ngoal:\n  qualitty: 0.3\n", 5, "qualitty"),
        ("name: a\ninstruction: b\nexamples: c\neconomics:\n  per_month: -3\n", 5, "economics.per_month"),
        ("name: a\ninstruction: b\nexamples: c\neconomics:\n  per_moth: 3\n", 5, "per_moth"),
        ("name: a\ninstruction: b\nexamples: c\nprices:\n  openai:x:\n    read: 1\n", 5, "written` is missing"),
        ("name: a\ninstruction: b\nexamples: c\nprices: {openai:x: {read: free, written: 1}}\n", 4, "number"),
        ("name: ../up\ninstruction: b\nexamples: c\n", 1, "name"),
        ("name: a\nexamples: c\n", 1, "`instruction` is missing"),
        ("name: a\ninstruction: b\n", 1, "examples"),
        ("name: a\ninstruction: b\ntrain: c\n", 1, "holdout"),
        ("name: a\ninstruction: b\nexamples: c\nscorer: bleurt\n", 4, "no scorer"),
    ],
)
def test_a_broken_task_file_is_refused_at_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    path = tmp_path / "shouldtune.yaml"
    path.write_text(text)
    (tmp_path / "c").mkdir()
    (tmp_path / "c.jsonl").write_text('{"input": "a", "target": "b"}\n')
    path.write_text(text.replace("examples: c\n", "examples: c.jsonl\n"))
    error = refusal(path)
    assert error.where == f"{path}:{line}"
    assert says in str(error)


def test_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    path = tmp_path / "shouldtune.yaml"
    path.write_text("\n".join(lines))
    assert "too large" in str(refusal(path))


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shouldtune.yaml"
    path.write_text("name: " + "[" * 5000 + "]" * 5000)
    assert refusal(path).exit_code == 2


def test_a_typo_is_answered_with_the_key_that_was_meant(tmp_path: Path) -> None:
    path = tmp_path / "shouldtune.yaml"
    path.write_text("name: a\ninstruction: b\nexamples: c\nscorrer: exact\n")
    assert refusal(path).hint == "did you mean `scorer`?"


def test_money_that_is_not_given_is_unknown_and_prices_belong_to_their_models(make_task: MakeTask) -> None:
    assert load_task(make_task(numbered_rows(60))).economics == Economics()
    prices = {
        "openai:small": {"read": 0.25, "written": 2},
        "tuned": {"read": 1, "written": 4},
        "openai:smal": {"read": 1, "written": 1},
    }
    folder = make_task(
        numbered_rows(60), model="openai:small", prices=prices, economics={"per_month": 3e5, "months": 12}
    )
    loaded = load_task(folder)
    assert loaded.economics == Economics(3e5, 12, prompt_price=Price(0.25, 2), tuned_price=Price(1, 4))
    assert "price of openai:small: $0.25 read, $2 written per million tokens (your price table)" in loaded.notes
    assert "price of openai:smal: not used" in loaded.notes
    assert load_task(folder, model="smollm2").economics.prompt_price is None


def test_the_published_schema_is_the_one_in_use() -> None:
    published = Path(__file__).parent.parent / "docs" / "reference" / "shouldtune.schema.json"
    assert json.loads(published.read_text()) == TaskFile.model_json_schema()


# ---------------------------------------------------------------- rows


@pytest.mark.parametrize(
    "row",
    [
        {"input": "q", "target": "a"},
        {"input": "q", "output": "a"},
        {"prompt": "q", "completion": "a"},
        {"question": "q", "answer": "a"},
        {"text": "q", "label": "a"},
        {"instruction": "q", "output": "a"},
        {"instruction": "q", "input": "", "output": "a"},
        {
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a"},
            ]
        },
    ],
    ids="+".join,
)
def test_rows_are_read_in_every_form(tmp_path: Path, row: dict[str, object]) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps(row) + "\n")
    example = read_rows(path).examples[0]
    assert (example.input, example.target) == ("q", "a")


def test_alpaca_rows_join_instruction_and_input(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps({"instruction": "Translate.", "input": "chat", "output": "cat"}) + "\n")
    rows = read_rows(path)
    assert rows.examples[0].input == "Translate.\n\nchat"
    assert rows.mapping == "d.jsonl: input <- instruction + input, target <- output"


def test_several_turns_become_a_transcript(tmp_path: Path) -> None:
    turns = [("user", "hi"), ("assistant", "hello"), ("user", "bye"), ("assistant", "ciao")]
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps({"messages": [{"role": r, "content": c} for r, c in turns]}) + "\n")
    example = read_rows(path).examples[0]
    assert example.input == "User: hi\nAssistant: hello\nUser: bye"
    assert example.target == "ciao"


def test_csv_and_parquet_give_the_same_examples_as_jsonl(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    (tmp_path / "d.csv").write_text('﻿text,label\n"a, b",x\n"two\nlines",y\n', encoding="utf-8")
    pyarrow.parquet.write_table(
        pyarrow.table({"text": ["a, b", "two\nlines"], "label": ["x", "y"]}), tmp_path / "d.parquet"
    )
    (tmp_path / "d.jsonl").write_text('{"text": "a, b", "label": "x"}\n{"text": "two\\nlines", "label": "y"}\n')
    found = [
        [(e.input, e.target) for e in read_rows(tmp_path / f"d.{kind}").examples]
        for kind in ("csv", "parquet", "jsonl")
    ]
    assert found[0] == found[1] == found[2] == [("a, b", "x"), ("two\nlines", "y")]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('{"input": "a", "target": "b"}\n{"input": "c"}\n', 2, "no target"),
        ('{"input": "a", "target": "b"}\n{"input": "c", "target": null}\n', 2, "no target"),
        ('{"input": "a", "target": "b"}\n\n{"input": "", "target": "d"}\n', 3, "no input"),
        ('{"input": "a", "target": "b"}\n{"input": \n', 2, "not valid JSON"),
        ('{"input": "a", "target": "b"}\n[1]\n', 2, "not a JSON object"),
        ('{"left": "a", "right": "b"}\n', 1, "cannot tell the input from the target"),
        ('{"id": 1, "input": "a", "target": "b"}\n{"id": 1, "input": "c", "target": "d"}\n', 2, "stands twice"),
        ('{"input": "a", "target": "b"}\n{"input": "a\x00", "target": "b"}\n', 2, "NUL"),
    ],
)
def test_a_bad_row_is_refused_at_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_rows(path)
    assert caught.value.where == f"{path}:{line}"
    assert says in str(caught.value)


def test_bytes_that_are_not_utf8_are_refused_at_their_line(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(b'{"input": "a", "target": "b"}\n{"input": "\xff", "target": "b"}\n')
    with pytest.raises(InputError) as caught:
        read_rows(path)
    assert caught.value.where == f"{path}:2"


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text("\n")
    with pytest.raises(InputError, match="no rows"):
        read_rows(path)


# ---------------------------------------------------------------- the split


def example(i: int, text: str, target: str = "t", group: str | None = None) -> Example:
    return Example(id=str(i), input=text, target=target, group=group)


def test_the_split_is_the_same_for_a_seed_and_another_for_another() -> None:
    rows = [example(i, f"text {i} {i * 31}") for i in range(200)]
    assert split(rows, 60, 1) == split(rows, 60, 1)
    assert split(rows, 60, 1) != split(rows, 60, 2)


def test_groups_and_near_duplicates_stay_on_one_side() -> None:
    rows = [example(i, f"subject {i} alone {i * 37}", group=f"g{i // 5}") for i in range(100)]
    rows += [
        example(100 + i, f"please could you tell me how to reset the lamp number {i // 2} today{' now' * (i % 2)}")
        for i in range(60)
    ]
    for seed in range(5):
        train, holdout = split(rows, 48, seed)
        sides = [{e.group for e in half if e.group} for half in (train, holdout)]
        assert not sides[0] & sides[1]
        links = near_duplicates([e.input for e in (*train, *holdout)])
        assert all((i < len(train)) == (j < len(train)) for i, j in links)
        assert 0.2 < len(holdout) / len(rows) < 0.4


def test_every_label_gives_its_share() -> None:
    rows = [example(i, f"words {i * 7919} of {i}", target="rare" if i % 10 == 0 else "common") for i in range(300)]
    _, holdout = split(rows, 90, 0)
    counts = Counter(e.target for e in holdout)
    assert counts["rare"] == 9
    assert counts["common"] == 81


@pytest.mark.parametrize(
    ("vocabulary", "fewest", "most", "threshold"),
    [(10, 3, 8, 0.8), (10, 0, 3, 0.8), (45, 26, 42, 0.8), (200, 150, 190, 0.8), (8, 1, 6, 0.5), (6, 1, 6, 1.0)],
)
def test_near_duplicates_are_those_that_brute_force_finds(
    vocabulary: int, fewest: int, most: int, threshold: float
) -> None:
    draw = random.Random(5)
    words = [f"w{k}" for k in range(vocabulary)]
    texts = [" ".join(draw.sample(words, draw.randint(fewest, most))) for _ in range(150)]
    texts += [" ".join(draw.sample(text.split(), len(text.split()) * 9 // 10)) for text in texts[:30]]

    def jaccard(a: set[str], b: set[str]) -> float:
        return len(a & b) / len(a | b) if a | b else 0.0

    sets = [set(text.split()) for text in texts]
    brute = [(i, j) for j in range(len(sets)) for i in range(j) if jaccard(sets[i], sets[j]) >= threshold]
    assert near_duplicates(texts, threshold) == brute
    assert brute


def test_rows_in_both_train_and_holdout_are_dropped_from_train(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(60))
    (folder / "holdout.jsonl").write_text("".join(json.dumps(row) + "\n" for row in numbered_rows(80)[50:]))
    file = json.loads((folder / "shouldtune.yaml").read_text())
    del file["examples"]
    (folder / "shouldtune.yaml").write_text(json.dumps({**file, "train": "examples.jsonl", "holdout": "holdout.jsonl"}))
    loaded = load_task(folder)
    assert len(loaded.task.train) == 50
    assert len(loaded.holdout) == 30
    assert not {e.input for e in loaded.task.train} & {e.input for e in loaded.holdout}
    assert any("dropped" in note for note in loaded.notes)


def test_the_unseen_part_shares_no_group_with_the_pool() -> None:
    rows = [example(i, f"subject {i} alone {i * 37}", group=f"g{i // 7}") for i in range(210)]
    from shouldtune.scorers.text import exact
    from shouldtune.types import Task

    train, _ = split(rows, 0, 3)
    pool, unseen = Task("t", "i", train, exact).halves()
    assert not {e.group for e in pool} & {e.group for e in unseen}
    assert 24 <= len(unseen) <= 31


# ---------------------------------------------------------------- documents and user code


def test_documents_come_from_a_folder_of_text_markdown_and_jsonl(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.md").write_text("# Title\n\nText.")
    (folder / "deep" / "b.txt").write_text("Plain text")
    (folder / "c.jsonl").write_text('{"id": "one", "title": "T", "text": "x", "meta": {"api_call": "f()"}}\n')
    (folder / "d.bin").write_bytes(b"\x00\x01")
    found, notes = read_documents("documents", tmp_path, "here")
    assert notes == ()
    assert [d.id for d in found] == ["a.md", "one", "deep/b.txt"]
    assert found[0].title == "Title"
    assert found[1].meta == {"api_call": "f()"}


def test_code_outside_the_task_folder_is_not_run(tmp_path: Path, make_task: MakeTask) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    folder = make_task(numbered_rows(60), scorer="../evil.py:score")
    assert "outside" in str(refusal(folder))


def test_a_users_scorer_that_fails_to_load_is_named_with_its_line(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(60), scorer="mine.py:score")
    (folder / "mine.py").write_text("import os\nbroken = 1 / 0\n")
    error = refusal(folder)
    assert error.where == f"{folder / 'mine.py'}:2"


def test_a_label_that_is_not_listed_is_refused(make_task: MakeTask) -> None:
    rows = [{"input": f"text {i} {i * 31}", "target": "yes" if i else "nope"} for i in range(60)]
    assert "nope" in str(refusal(make_task(rows, scorer="label", output={"labels": ["yes", "no"]})))


def test_other_right_answers_are_found_where_data_sets_keep_them(tmp_path: Path) -> None:
    rows = [
        {"input": "a", "target": "1", "accepted": ["one", "1"]},
        {"input": "b", "target": "2", "meta": {"answers": ["2", "two", "two"]}},
        {"input": "c", "target": "3", "references": ["three"], "meta": {"answers": ["drei"]}},
        {"input": "d", "target": "4", "meta": {"other_answers": []}},
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    found = read_rows(tmp_path / "rows.jsonl").examples
    assert [example.accepted for example in found] == [("one",), ("two",), ("three",), ()]
    with pytest.raises(InputError, match="must be a list"):
        (tmp_path / "rows.jsonl").write_text('{"input": "a", "target": "1", "accepted": "one"}', encoding="utf-8")
        read_rows(tmp_path / "rows.jsonl")


def test_half_a_character_in_rows_and_documents_is_read_as_a_question_mark(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"input": "a \\ud83d cut", "target": ["\\ud83d"]}\n', encoding="utf-8")
    row = read_rows(tmp_path / "rows.jsonl").examples[0]
    assert (row.input, row.target) == ("a ? cut", '["?"]')
    (tmp_path / "docs.jsonl").write_text(
        '{"id": "d", "title": "t\\ud83d", "text": "a \\ud83d cut"}\n', encoding="utf-8"
    )
    documents, _ = read_documents("docs.jsonl", tmp_path, "")
    assert (documents[0].title, documents[0].text) == ("t?", "a ? cut")
