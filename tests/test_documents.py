"""Files of many kinds become documents; a broken or hostile one costs a note, never the run."""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from shouldtune.errors import CannotMeasure, InputError
from shouldtune.retrieval.chunks import passages
from shouldtune.task import parsed as parsed_module
from shouldtune.task.documents import read_documents
from shouldtune.task.parsed import parse_files

DOCX_PARTS = {
    "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.'
    'wordprocessingml.document.main+xml"/></Types>',
    "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship '
    'Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
    'Target="word/document.xml"/></Relationships>',
}


def write_docx(path: Path, paragraphs: Sequence[str]) -> None:
    """The smallest Word file that says these paragraphs."""
    body = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in paragraphs)
    main = f'<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>{body}</w:body>'
    with zipfile.ZipFile(path, "w") as file:
        for name, text in {**DOCX_PARTS, "word/document.xml": f"{main}</w:document>"}.items():
            file.writestr(name, text)


def write_pdf(path: Path, pages: Sequence[str]) -> None:
    """The smallest PDF that says these pages, one line each."""
    count = len(pages)
    kids = " ".join(f"{3 + 2 * i} 0 R" for i in range(count))
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {count} >>"]
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    for i, text in enumerate(pages):
        drawn = f"BT /F1 12 Tf 50 700 Td ({text}) Tj ET"
        place = (
            f"/Parent 2 0 R /MediaBox [0 0 612 792] /Contents {4 + 2 * i} 0 R /Resources << /Font << /F1 {font} >> >>"
        )
        objects += [f"<< /Type /Page {place} >>", f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream"]
    text, offsets = "%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        offsets.append(len(text))
        text += f"{number} 0 obj\n{each}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    start = len(text)
    text += (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\n"
    )
    path.write_text(f"{text}startxref\n{start}\n%%EOF\n", encoding="latin-1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for package in ("pypdf", "mammoth", "selectolax"):
        pytest.importorskip(package, reason="the extra [docs] is not installed")
    made = tmp_path / "documents"
    made.mkdir()
    return made


def test_pdf_word_and_html_become_documents_and_pages_are_kept(folder: Path) -> None:
    write_pdf(folder / "manual.pdf", ["Press the red button.", "Then wait for the lamp."])
    write_docx(folder / "letter.docx", ["Dear customer,", "your refund is on its way."])
    (folder / "page.html").write_text(
        "<html><head><title>Returns &amp; refunds</title><style>p {}</style></head><body><nav>Home</nav>"
        "<h1>Returns</h1><p>Send it <b>back</b> in\n 30 days.</p>tail"
        "<script>alert(1)</script><ul><li>one</li><li>two</li></ul></body>"
    )
    documents, notes = read_documents("documents", folder.parent, "here")
    letter, manual, page = documents
    assert notes == ()
    assert letter.text == "Dear customer,\n\nyour refund is on its way."
    assert page.title == "Returns & refunds"
    assert page.text == "Returns\n\nSend it back in 30 days.\n\ntail\n\none\n\ntwo"
    cut = passages([manual], words=5, overlap=0)
    assert [(p.page, p.cited) for p in cut] == [(1, "manual.pdf, page 1"), (2, "manual.pdf, page 2")]
    assert cut[1].text == "Then wait for the lamp."


def test_a_file_that_lies_about_its_kind_is_left_out_with_its_name(folder: Path) -> None:
    (folder / "good.txt").write_text("All is well.")
    (folder / "not.pdf").write_bytes(os.urandom(4000))
    (folder / "not.docx").write_bytes(b"PK\x03\x04 no archive")
    write_pdf(folder / "empty.pdf", [""])
    documents, notes = read_documents("documents", folder.parent, "here")
    assert [d.id for d in documents] == ["good.txt"]
    assert [note.split(" was left out: ")[0] for note in notes] == ["empty.pdf", "not.docx", "not.pdf"]
    assert "no text" in notes[0]
    assert all("\n" not in note for note in notes)


def test_where_no_file_can_be_read_the_first_reason_is_the_hint(folder: Path) -> None:
    (folder / "not.pdf").write_bytes(b"%PDF-1.4 and nothing")
    with pytest.raises(InputError) as refused:
        read_documents("documents", folder.parent, "here")
    assert "not.pdf was left out" in refused.value.hint


def test_a_word_file_that_unpacks_to_gigabytes_is_left_out(folder: Path) -> None:
    with zipfile.ZipFile(folder / "bomb.docx", "w") as file:
        file.writestr("word/document.xml", "x")
        file.infolist()[0].file_size = 3_000_000_000  # what a real bomb would say of itself
    (found,) = parse_files([folder / "bomb.docx"])
    assert found.error is not None
    assert "unpacks to 3,0" in found.error


def test_a_file_that_takes_too_long_or_too_much_is_given_up_and_the_next_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = folder / "readers"
    slow.mkdir()
    (slow / "pypdf.py").write_text(
        "import os, re\n"
        "class PdfReader:\n"
        "    def __init__(self, path):\n"
        "        if 'slow' in path.name: re.match('(a+)+$', 'a' * 40 + 'b')\n"
        "        if 'large' in path.name: bytes(10**10)\n"
        "        if 'crash' in path.name: os.abort()\n"
        "    is_encrypted, metadata = False, None\n"
        "    pages = [type('Page', (), {'extract_text': lambda self: 'text'})()]\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(slow))
    paths = [folder / f"{name}.pdf" for name in ("first", "slow", "large", "crash", "last")]
    for path in paths:
        path.write_bytes(b"x")
    monkeypatch.setattr(parsed_module, "cpu_count", lambda: 1)
    began = time.monotonic()
    found = parse_files(paths, seconds=2)
    assert time.monotonic() - began < 60
    assert [each.error for each in found] == [
        None,
        "it took longer than 2 s",
        "too large",
        "its reader crashed",
        None,
    ]
    assert found[0].text == found[4].text == "text"


def test_a_package_that_is_lacking_is_named_with_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(parsed_module.NEEDED, ".pdf", "no_such_reader")
    (tmp_path / "a.pdf").write_bytes(b"x")
    with pytest.raises(CannotMeasure, match="no_such_reader") as refused:
        read_documents("a.pdf", tmp_path, "here")
    assert refused.value.hint == 'pip install "shouldtune[docs]"'


def test_a_page_nested_a_hundred_thousand_deep_is_read_or_refused_and_nothing_hangs(folder: Path) -> None:
    (folder / "deep.html").write_text("<div>" * 100_000 + "core" + "</div>" * 100_000)
    (found,) = parse_files([folder / "deep.html"], seconds=3)
    assert found.error is not None or found.text == "core"
