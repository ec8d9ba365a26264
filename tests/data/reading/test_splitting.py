"""Where files are divided: the same records with the same ids, whatever the size of the parts."""

from __future__ import annotations

import csv
import io
import json
import random
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.data.reading import splitting
from llmos.data.reading.splitting import (
    looks_like_text,
    pieces,
    split_at_lines,
    split_at_pieces,
)

if TYPE_CHECKING:
    from tests.data.reading.conftest import Read, Write

WORDS = ("one", "two, three", 'he said "four"', "five\nsix", "七八", "", "nine\r\nten", "x" * 40)


def records(count: int) -> list[dict[str, str]]:
    draw = random.Random(1)
    return [
        {"text": " ".join(draw.choices(WORDS, k=draw.randrange(1, 9))) + f" {n}"}
        for n in range(count)
    ]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv", "a.jsonl.gz", "a.csv.zst"])
def test_documents_and_ids_do_not_depend_on_the_limit(name: str, write: Write, read: Read) -> None:
    rows = records(200)
    if "jsonl" in name:
        content = "\n".join(["", *(json.dumps(r, ensure_ascii=False) for r in rows)])
    elif "tsv" in name:
        lines = (" ".join(r["text"].split()) for r in rows)
        content = "\n".join(["text\tid", *(f"{line}\t{n}" for n, line in enumerate(lines))])
    else:
        file = io.StringIO()
        writer = csv.DictWriter(file, ["text"])
        writer.writeheader()
        writer.writerows(rows)
        content = file.getvalue()
    write(name, "\ufeff" + content)
    whole, problems = read()
    assert len(whole) == 200
    assert not problems
    if "tsv" not in name:
        assert [document.text for document in whole] == [row["text"] for row in rows]
    for limit in (1, 57, 1000, 5000):
        assert read(limit=limit) == (whole, [])


@given(st.lists(st.sampled_from([b"a", b'"', b"\n", b"\r", b"\r\n", b"bcd"])), st.integers(1, 9))
@pytest.mark.parametrize("quoted", [False, True])
def test_parts_join_and_count_lines(
    quoted: bool, tmp_path_factory: pytest.TempPathFactory, tokens: list[bytes], limit: int
) -> None:
    data = b"".join(tokens)
    path = tmp_path_factory.getbasetemp() / "split"
    path.write_bytes(data)
    parts = list(split_at_lines(str(path), len(data), limit, quoted))
    edges = [0, *(end for _, end, _ in parts)]
    assert [start for start, _, _ in parts] == edges[:-1]
    assert edges[-1] == len(data)
    for start, _, first in parts:
        before = data[:start].decode()
        lines = list(io.StringIO(before, newline="" if quoted else "\n"))
        assert first == len(lines) + 1
        assert start == 0 or before.endswith("\n")
        assert not quoted or before.count('"') % 2 == 0
    for (start, end, _), (_, following, _) in pairwise(parts):
        # As long as it may be: the next line would not have fitted, or this part is one line.
        ends = [at + 1 for at in range(end, following) if data[at : at + 1] == b"\n"]
        outside = [e for e in ends if not quoted or data[:e].count(b'"') % 2 == 0]
        assert all(e - start > limit for e in outside)


@pytest.mark.parametrize("limit", [1, 10, 25, 64, 1000])
def test_pieces_of_a_long_text(limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "PIECE", 10)
    data = b"".join(b"%d\n" % n * (n % 7) for n in range(30)) + b"x" * 35 + b"\ny" * 20 + b"end"
    path = tmp_path / "a"
    path.write_bytes(data)
    expected = list(pieces([data]))
    assert b"".join(piece or b"" for _, piece in expected) == data
    assert all(piece and piece.endswith(b"\n") for _, piece in expected[:-1])
    parts = list(split_at_pieces(str(path), len(data), limit))
    assert limit < 20 or len(parts) < len(expected)
    found = []
    for start, end, first in parts:
        within = list(pieces([data[start:end]], start))
        assert within[0][0] == first
        found += within
    assert found == expected
    threes = [data[at : at + 3] for at in range(0, len(data), 3)]
    assert list(pieces(threes)) == expected


def test_heads_of_files() -> None:
    assert looks_like_text("Ünïcode\tand\r\n\f".encode())
    assert looks_like_text("Text".encode("utf-16"))
    assert looks_like_text("größer\n".encode("cp1252"))
    assert looks_like_text(b"\x1b$B$3$l\x1b(B")
    for head in (b"%PDF-1.4\n", b"\x7fELF\x02\x01", b"\x1f\x8b\x08\x00", b"BZh91AY&SY\x01"):
        assert not looks_like_text(head)
