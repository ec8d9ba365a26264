"""Reading a member's text: what is found, and one line with the next step for what is wrong."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from llmos.data.sources import Source, read_source
from llmos.errors import DataError
from llmos.recipe import DataSection

CHINESE = "模型训练完成以后，各方得到同一个模型。\n"


def refused(path: Path, *, field: str = "text") -> str:
    """The message of the error, which must be one line with a next step behind a colon."""
    with pytest.raises(DataError) as caught:
        read_source(path, DataSection(text_field=field), "text")
    message = str(caught.value)
    assert "\n" not in message
    assert re.search(r": \w", message), f"no next step: {message}"
    return message


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix.lower() == ".gz" else data)
    return path


def read(path: Path, field: str = "text") -> Source:
    return read_source(path, DataSection(text_field=field), "text")


def texts(path: Path, field: str = "text") -> dict[str, str]:
    return {document.id: document.text for document in read(path, field).documents}


# What is found


@pytest.mark.parametrize(
    "name", ["a.txt", "a.md", "a.txt.gz", "a.md.gz", "A.TXT", "A.Txt.GZ", "v1.2.txt", "a.gz.txt"]
)
def test_a_text_file_is_one_document(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, CHINESE)
    assert texts(path) == {name: CHINESE}
    assert texts(tmp_path) == {name: CHINESE}


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv", "a.TSV.gz"])
def test_a_line_of_a_table_is_one_document(tmp_path: Path, name: str) -> None:
    separator = "," if "csv" in name else "\t"
    lines = [("id", "body", "lang"), ("7", CHINESE.strip(), "zh"), ("8", " ", ""), ("9", "x", "")]
    write(tmp_path / name, "\r\n".join(separator.join(line) for line in lines))
    source = read(tmp_path, "body")
    assert {d.id: (d.text, d.language) for d in source.documents} == {
        f"{name}:2": (CHINESE.strip(), "zh"),
        f"{name}:4": ("x", ""),
    }
    assert source.passed_over == {}  # a blank text is no record at all


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.JSONL"])
def test_a_line_of_json_lines_is_one_document(tmp_path: Path, name: str) -> None:
    records = [{"body": "one\nand more", "id": 7}, {"body": CHINESE}, {"body": " "}]
    content = "\r\n".join(json.dumps(r, ensure_ascii=False) for r in records) + "\n\n"
    write(tmp_path / name, content)
    assert texts(tmp_path, "body") == {f"{name}:1": "one\nand more", f"{name}:2": CHINESE}


def test_only_newlines_end_a_record(tmp_path: Path) -> None:
    # JSON strings may hold these line separators of Unicode; str.splitlines would cut there.
    text = "one\u2028two\u0085three\x0cfour"
    write(tmp_path / "a.jsonl", json.dumps({"text": text}, ensure_ascii=False))
    assert texts(tmp_path) == {"a.jsonl:1": text}


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path: Path) -> None:
    for name in ("b/2.txt", "b/1.txt", "a.txt", "c/d/e.md"):
        write(tmp_path / name, name)
    assert list(texts(tmp_path).items()) == [
        ("a.txt", "a.txt"),
        ("b/1.txt", "b/1.txt"),
        ("b/2.txt", "b/2.txt"),
        ("c/d/e.md", "c/d/e.md"),
    ]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_byte_order_mark_is_no_text(tmp_path: Path, name: str) -> None:
    content = CHINESE if name == "a.txt" else json.dumps({"text": CHINESE})
    path = write(tmp_path / name, b"\xef\xbb\xbf" + content.encode())
    assert list(texts(path).values()) == [CHINESE]


def test_line_ends_and_blanks_stay_as_they_are(tmp_path: Path) -> None:
    text = "\t one\r\n\r\ntwo \n\n"
    assert texts(write(tmp_path / "a.txt", text)) == {"a.txt": text}


def test_hidden_files_and_folders_are_ignored(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "seen")
    for name in (".hidden.txt", ".git/b.txt", "c/.d/e.txt", ".x.pdf"):
        write(tmp_path / name, b"\xff not even text")
    source = read(tmp_path)
    assert [d.text for d in source.documents] == ["seen"]
    assert source.skipped == []
    # But a folder that lies below a hidden one, and a hidden file that is named itself, are meant.
    assert list(texts(write(tmp_path / ".data/f/g.txt", "deep").parent)) == ["g.txt"]
    assert list(texts(write(tmp_path / ".named.txt", "named"))) == [".named.txt"]


def test_files_of_other_kinds_are_listed(tmp_path: Path) -> None:
    for name in ("a.txt", "b.pdf", "c/d.txt.bak", "e.gz", "f"):
        write(tmp_path / name, "x")
    assert read(tmp_path).skipped == ["b.pdf", "c/d.txt.bak", "e.gz", "f"]


def test_empty_files_are_no_documents(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "text")
    write(tmp_path / "b.txt", "")
    write(tmp_path / "c.md", " \n\t\n")
    write(tmp_path / "d.jsonl", "\n\n")
    (tmp_path / "e.txt.gz").write_bytes(b"")
    assert texts(tmp_path) == {"a.txt": "text"}


def test_links_to_files_are_read_and_links_to_folders_are_listed(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside/o.txt", "from outside")
    inside = tmp_path / "data"
    write(inside / "a.txt", "inside")
    (inside / "linked.txt").symlink_to(outside)
    (inside / "folder").symlink_to(outside.parent)
    (inside / "round").symlink_to(inside)
    (inside / "self.txt").symlink_to(inside / "self.txt")
    (inside / "gone.txt").symlink_to(tmp_path / "nowhere.txt")
    source = read(inside)
    assert {d.id: d.text for d in source.documents} == {
        "a.txt": "inside",
        "linked.txt": "from outside",
    }
    assert source.skipped == ["folder", "gone.txt", "round", "self.txt"]
    (tmp_path / "alias").symlink_to(inside)
    assert texts(tmp_path / "alias") == texts(inside)


def test_one_huge_line_is_one_document(tmp_path: Path) -> None:
    text = "一行" * 900_000  # 5.4 MB of UTF-8
    write(tmp_path / "a.txt", text)
    write(tmp_path / "b.jsonl", json.dumps({"text": text}, ensure_ascii=False))
    assert texts(tmp_path) == {"a.txt": text, "b.jsonl:1": text}


# What is wrong


def test_a_missing_path(tmp_path: Path) -> None:
    assert "nowhere does not exist" in refused(tmp_path / "nowhere")
    write(tmp_path / "a.txt", "x")
    refused(tmp_path / "a.txt" / "b")


@pytest.mark.parametrize("names", [[], ["a.pdf", "b.docx"], ["a.txt"]])
def test_a_folder_without_text(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        write(tmp_path / name, "")
    message = refused(tmp_path)
    assert f"{tmp_path} holds no text" in message
    assert ".txt, .md, .jsonl" in message
    assert ("2 files of other kinds" in message) == (len(names) == 2)


def test_an_unreadable_file_or_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = write(tmp_path / "b/secret.txt", "x")
    write(tmp_path / "a.txt", "x")
    read_bytes, scandir = Path.read_bytes, os.scandir

    def refuse_file(path: Path) -> bytes:
        if path == secret:
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    def refuse_folder(path: Any) -> Any:
        if Path(path) == secret.parent:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(Path, "read_bytes", refuse_file)
    assert f"{secret} cannot be read (Permission denied)" in refused(tmp_path)
    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    monkeypatch.setattr(os, "scandir", refuse_folder)
    assert f"{secret.parent} cannot be read (Permission denied)" in refused(tmp_path)


def test_latin_1(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "Stra\u00dfe".encode("latin-1"))
    message = refused(tmp_path)
    assert f"{path} is not UTF-8 (byte 0xdf at offset 4)" in message
    assert "iconv -f LATIN1 -t UTF-8" in message


def test_the_offset_counts_the_byte_order_mark(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", b"\xef\xbb\xbfabc\xff")
    assert "byte 0xff at offset 6" in refused(tmp_path)


@pytest.mark.parametrize("text", ["Texte en français", "没有零字节"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le"])
def test_utf_16(tmp_path: Path, encoding: str, text: str) -> None:
    mark = "" if encoding == "utf-16" or text.isascii() else "\ufeff"
    write(tmp_path / "a.txt", (mark + text).encode(encoding))
    assert "iconv -f UTF-16 -t UTF-8" in refused(tmp_path)


def test_nul_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", b"text and \0 binary")
    assert "a.txt holds NUL bytes (the first at offset 9)" in refused(tmp_path)


@pytest.mark.parametrize("keep", [5, 12, 200, -1])
def test_a_truncated_archive(tmp_path: Path, keep: int) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(os.urandom(500).hex().encode())[:keep])
    assert "a.txt.gz is a damaged gzip archive" in refused(tmp_path)


def test_damaged_archives(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(b"some text " * 50))
    for at in (0, 12, len(whole) - 6):  # magic number, data, checksum
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        (tmp_path / "a.txt.gz").write_bytes(damaged)
        assert "a.txt.gz is a damaged gzip archive" in refused(tmp_path), at


@pytest.mark.parametrize(
    "line",
    ['{"text": "cut off', "not JSON", "[" * 100_000, '{"n": ' + "9" * 5000 + "}"],
    ids=["cut off", "not JSON", "too deep", "too large a number"],
)
def test_a_broken_record(tmp_path: Path, line: str) -> None:
    write(tmp_path / "a.jsonl", '{"text": "good"}\n\n' + line + '\n{"text": "good"}\n')
    assert "a.jsonl line 3 is not a JSON record" in refused(tmp_path)


@pytest.mark.parametrize("record", ['{"body": "x"}', '{"text": null}', '{"text": 5}', '["text"]'])
def test_a_record_without_the_field(tmp_path: Path, record: str) -> None:
    write(tmp_path / "a.jsonl", f'{{"text": "good"}}\n{record}\n')
    message = refused(tmp_path)
    assert "a.jsonl line 2 has no text in the field 'text'" in message
    assert "data.text_field" in message


def test_half_a_surrogate_pair(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", '{"text": "whole \\ud83d\\ude00"}\n{"text": "half \\ud83d"}\n')
    assert "a.jsonl line 2 holds half of a surrogate pair" in refused(tmp_path)
    write(tmp_path / "a.jsonl", '{"text": "good"}')
    write(tmp_path / "b.txt", b"half \xed\xa0\xbd")
    assert "b.txt is not UTF-8 (byte 0xed at offset 5)" in refused(tmp_path)


# Cards


def test_cards_are_merged(tmp_path: Path) -> None:
    cards = {
        "a": {"languages": ["fr", "en"], "licence": "MIT OR Apache-2.0", "made_by": "anyone"},
        "b": {"languages": ["en"], "licence": "CC0-1.0", "synthetic": True},
        "c": {"licence": "", "languages": None},
    }
    for folder, card in cards.items():
        write(tmp_path / folder / "t.txt", folder)
        write(tmp_path / folder / "card.json", b"\xef\xbb\xbf" + json.dumps(card).encode())
    source = read(tmp_path)
    assert source.languages == ("en", "fr")
    assert source.licence == "CC0-1.0 AND (MIT OR Apache-2.0)"
    assert source.synthetic is True
    assert source.skipped == []
    alone = read(tmp_path / "a")
    assert (alone.licence, alone.synthetic) == ("MIT OR Apache-2.0", False)


def test_the_card_beside_a_file_is_its_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.txt", "x")
    assert read(path).languages == ()
    write(tmp_path / "card.json", '{"languages": ["zh"]}')
    assert read(path).languages == ("zh",)
    monkeypatch.chdir(tmp_path)
    assert read(Path("a.txt")).languages == ("zh",)


@pytest.mark.parametrize(
    ("card", "problem"),
    [
        (b"{", "card.json is not JSON"),
        (b"[]", "card.json is not a JSON object"),
        (b'{"languages": "en"}', 'has languages = "en"'),
        (b'{"languages": [1]}', "has languages = [1]"),
        (b'{"languages": 5}', "has languages = 5"),
        (b'{"licence": ["MIT"]}', 'has licence = ["MIT"]'),
        (b'{"synthetic": "false"}', 'has synthetic = "false"'),
        (b'{"licence": "\xe9"}', "card.json is not UTF-8"),
    ],
)
def test_a_card_that_cannot_be_used(tmp_path: Path, card: bytes, problem: str) -> None:
    write(tmp_path / "a.txt", "x")
    write(tmp_path / "card.json", card)
    assert problem in refused(tmp_path)
