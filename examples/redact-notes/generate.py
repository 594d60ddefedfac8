"""Clinical-like notes with known personal data, and what two jurisdictions want removed from them.

    python generate.py                     writes examples.jsonl and documents/ in this folder
    python generate.py --rules changed     writes the same notes under the changed rules into changed/

Nobody in the notes exists. The draw is seeded: the same call always writes the same bytes, and the notes do not hang on
the rules, so that what differs between the two calls is what the law changed and nothing else.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
NOTES = 450
SEED = 20
MONTHS = [
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
]


@dataclass(frozen=True)
class Piece:
    """A stretch of a note: its text, and what kind of personal data it is; None for plain words."""

    text: str
    kind: str | None = None


@dataclass(frozen=True)
class Rules:
    """What one jurisdiction wants removed: the label of each kind of data; kinds that are not named stay."""

    labels: Mapping[str, str]
    oldest_age: int | None = None
    """Ages above this one are removed; None where every age stays."""
    keeps_year: bool = False
    """Whether only day and month of a date are removed."""

    def label(self, piece: Piece) -> str | None:
        """The label to put in the place of a piece, or None where it stays."""
        if piece.kind == "age":
            return "AGE" if self.oldest_age is not None and int(piece.text) > self.oldest_age else None
        if piece.kind in ("year", "glue"):
            return None if self.keeps_year else "DATE"
        return self.labels.get(piece.kind or "")


ALWAYS = {
    "patient": "NAME",
    "relative": "NAME",
    "day": "DATE",
    "street": "PLACE",
    "phone": "CONTACT",
    "email": "CONTACT",
    "record": "NUMBER",
}
WORK = {"profession": "WORK", "employer": "WORK"}
RULES: dict[str, dict[str, Rules]] = {
    "current": {
        "Arvenia": Rules({**ALWAYS, "staff": "NAME", "city": "PLACE"}, oldest_age=89),
        "Belmora": Rules({**ALWAYS, **WORK, "hospital": "HOSPITAL"}, keeps_year=True),
    },
    "changed": {
        "Arvenia": Rules({**ALWAYS, **WORK, "staff": "NAME", "city": "PLACE"}, oldest_age=79),
        "Belmora": Rules({**ALWAYS, **WORK, "hospital": "HOSPITAL", "staff": "NAME"}),
    },
}
NAMED = {
    "staff": "names of doctors and other staff",
    "city": "towns and cities",
    "hospital": "names of hospitals and clinics",
    "profession": "professions",
    "employer": "employers",
}


def say(jurisdiction: str, rules: Rules) -> str:
    """The rules in words, as the document that an approach with retrieval may read."""
    lines = [f"# Personal data in medical notes: the rules of {jurisdiction}", ""]
    lines += ["- Remove names of patients and of their relatives: [NAME]. Titles such as Mr and Dr stay."]
    lines += ["- Remove streets with their numbers: [PLACE]. Remove phone numbers and e-mail addresses: [CONTACT]."]
    lines += ["- Remove record and file numbers: [NUMBER]."]
    if rules.keeps_year:
        lines += ["- Remove day and month of every date: [DATE]. The year stays, also where it stands alone."]
    else:
        lines += ["- Remove every date with its year, and years that stand alone: [DATE]."]
    if rules.oldest_age is None:
        lines += ["- Ages stay, whatever they are."]
    else:
        lines += [f"- Remove ages above {rules.oldest_age}: [AGE]. Other ages stay."]
    for kind, words in NAMED.items():
        label = rules.labels.get(kind)
        lines += [f"- Remove {words}: [{label}]." if label else f"- {words.capitalize()} stay."]
    lines += ["- Illnesses and tests that are named after people or places stay, and so do doses and measurements."]
    return "\n".join(lines) + "\n"


class Writer:
    """Draws notes: sentences from sentences.txt with their slots filled from vocabulary.json."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.words: dict[str, list[str]] = json.loads((HERE / "vocabulary.json").read_text("utf-8"))
        self.sentences = read_sentences((HERE / "sentences.txt").read_text("utf-8"))
        self.decks: dict[str, list[str]] = {}

    def next_of(self, section: str) -> str:
        """The next sentence of a section: every one is used before any comes again."""
        deck = self.decks.setdefault(section, [])
        if not deck:
            deck += self.draw.sample(self.sentences[section], len(self.sentences[section]))
        return deck.pop()

    def note(self) -> list[Piece]:
        """One note. The patient's family name stays the same throughout."""
        draw = self.draw
        sections = ["opening", *draw.sample(["history", "social", "findings", "findings", "plan"], draw.randint(1, 3))]
        if draw.random() < 0.08:
            sections = ["findings", "findings", "findings"]  # nothing to remove
        sections.sort(key=["opening", "history", "social", "findings", "plan"].index)
        last = draw.choice(self.words["family"])
        pieces: list[Piece] = []
        for section in sections:
            pieces += [*self.fill(self.next_of(section), last), Piece(" " if draw.random() < 0.8 else "\n")]
        small = draw.random() < 0.1
        return [Piece(piece.text.lower() if small else piece.text, piece.kind) for piece in pieces[:-1]]

    def fill(self, sentence: str, last: str) -> Iterator[Piece]:
        """The pieces of a sentence, each {slot} filled."""
        for index, part in enumerate(sentence.replace("}", "{").split("{")):
            if index % 2 == 0:
                yield Piece(part)
            else:
                yield from self.slot(part, last)

    def slot(self, name: str, last: str) -> list[Piece]:
        """What a slot holds; a date is several pieces."""
        draw = self.draw
        if name == "date":
            return self.date()
        if name in ("complaint", "complaint_cap"):
            found = draw.choice(self.words["complaint"])
            return [Piece(found[0].upper() + found[1:] if name == "complaint_cap" else found)]
        if name in ("city", "street", "hospital", "profession", "employer"):
            return [Piece(draw.choice(self.words[name]), name)]
        if name == "age":
            oldest = ((1, 79), (80, 89), (90, 104))[draw.choices((0, 1, 2), (5, 2, 3))[0]]
            return [Piece(str(draw.randint(*oldest)), "age")]
        if name == "year":
            return [Piece(str(draw.randint(1968, 2024)), "year")]
        if name == "last":
            return [Piece(last, "patient")]
        if name in PLAIN:
            return [Piece(draw.choice(PLAIN[name]))]
        if name == "staff":
            return [Piece(f"{draw.choice(['Dr', 'Dr', 'Prof.', 'Nurse'])} "), Piece(self.personal(name, last), name)]
        return [Piece(self.personal(name, last), name)]

    def personal(self, name: str, last: str) -> str:
        """A person, or a number or address of one."""
        draw = self.draw
        given, family = draw.choice(self.words["given"]), draw.choice(self.words["family"])
        if name == "patient":
            return draw.choice([f"{given} {last}", f"{given} {last}", f"{last}, {given}", f"{given[0]}. {last}"])
        if name == "relative":
            return draw.choice([f"{given} {last}", given])
        if name == "staff":
            return draw.choice([family, f"{given} {family}"])
        number = draw.randrange(10**7, 10**8)
        if name == "phone":
            a, b, c = str(number)[:2], str(number)[2:5], str(number)[5:]
            return draw.choice([f"0{a}{b} {c}", f"+{a} {b} {c}", f"0{a}-{b}{c}"])
        if name == "email":
            return f"{given[:3]}{draw.choice('._')}{family[:4]}{draw.randrange(90)}@example.org".lower().replace(
                " ", ""
            )
        if name == "record":
            return draw.choice([f"{number}", f"AX-{number // 100}", f"{number // 10**4}/{draw.randint(10, 24)}"])
        raise ValueError(f"no slot {name!r}")

    def date(self) -> list[Piece]:
        """A date in one of five forms, day and month apart from the year."""
        draw = self.draw
        day, month, year = draw.randint(1, 28), draw.randint(1, 12), str(draw.randint(2015, 2025))
        name = MONTHS[month - 1]
        forms = [
            [Piece(f"{day} {name}", "day"), Piece(" ", "glue"), Piece(year, "year")],
            [Piece(f"{name} {day}", "day"), Piece(", ", "glue"), Piece(year, "year")],
            [Piece(f"{day:02}.{month:02}", "day"), Piece(".", "glue"), Piece(year, "year")],
            [Piece(year, "year"), Piece("-", "glue"), Piece(f"{month:02}-{day:02}", "day")],
            [Piece(f"{day} {name[:3]}", "day")],
        ]
        return draw.choice(forms)


PLAIN = {
    "title": ["Mr", "Ms", "Mrs", "Mx"],
    "mg": ["250", "500", "625", "850", "1000"],
    "bp": ["118/74", "162/98", "135/85", "104/60", "171/102"],
    "lab": ["4", "12", "19", "38", "61", "87", "112", "143"],
    "hb": ["7.9", "9.4", "10.2", "11.8"],
    "temp": ["36.8", "37.9", "38.6", "39.2"],
    "digit": list("123456789"),
}


def read_sentences(text: str) -> dict[str, list[str]]:
    """Sections of sentences: a line `# name`, then a sentence a line."""
    sections: dict[str, list[str]] = {}
    name = ""
    for line in filter(None, text.splitlines()):
        if line.startswith("# "):
            name = line[2:]
        else:
            sections.setdefault(name, []).append(line)
    return sections


def row(jurisdiction: str, note: Sequence[Piece], rules: Rules) -> dict[str, object]:
    """An example: the note with its jurisdiction above it, the same without what must go, and where that stood."""
    asked, wanted = "", ""
    spans: list[dict[str, object]] = []
    before: str | None = None
    for piece in [Piece(f"For: {jurisdiction}\n"), *note]:
        label = rules.label(piece)
        if label is None:
            wanted += piece.text
        elif label == before == "DATE":  # the rest of the same date
            spans[-1].update(end=len(asked) + len(piece.text), text=f"{spans[-1]['text']}{piece.text}")
        else:
            wanted += f"[{label}]"
            spans.append({"start": len(asked), "end": len(asked) + len(piece.text), "label": label, "text": piece.text})
        asked += piece.text
        before = label
    return {"input": asked, "target": wanted, "meta": {"spans": spans, "jurisdiction": jurisdiction}}


def generate(rules: str, seed: int = SEED) -> list[dict[str, object]]:
    """All rows under one state of the law; the jurisdictions take turns."""
    writer, found = Writer(seed), RULES[rules]
    names = list(found)
    return [row(names[i % 2], writer.note(), found[names[i % 2]]) for i in range(NOTES)]


def write(folder: Path, rules: str) -> None:
    """Write examples.jsonl and one document for each jurisdiction into a folder."""
    (folder / "documents").mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(found, ensure_ascii=False) + "\n" for found in generate(rules)]
    (folder / "examples.jsonl").write_text("".join(lines), encoding="utf-8")
    for jurisdiction, said in RULES[rules].items():
        (folder / "documents" / f"{jurisdiction.lower()}.md").write_text(say(jurisdiction, said), encoding="utf-8")
    if folder != HERE:
        shutil.copy(HERE / "shouldtune.yaml", folder / "shouldtune.yaml")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the notes under the current or the changed rules.")
    parser.add_argument("--rules", choices=RULES, default="current")
    parser.add_argument("--into", type=Path, help="the folder to write into")
    asked = parser.parse_args()
    write(asked.into or (HERE if asked.rules == "current" else HERE / "changed"), asked.rules)
