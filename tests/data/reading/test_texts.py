"""Texts that are one document, and those that are too long for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llmos.data.reading import chunks, splitting, streams, texts
from llmos.data.reading.encodings import REPLACED

if TYPE_CHECKING:
    from tests.data.reading.conftest import Read, Write


def test_texts_stay_as_they_are(write: Write, read: Read) -> None:
    content = "\t one\r\n\r\ntwo \n\n最後"
    for name in ("a.txt", "b.md.gz", "c.py.zst"):
        write(name, content)
    write("d.txt", content.encode("utf-16"))
    write("e.html", "<p>A paragraph of a page.</p><script>x()</script>")
    found, problems = read()
    assert [d.text for d in found] == [content] * 4 + ["A paragraph of a page."]
    assert not problems


def test_a_text_with_some_bad_bytes(write: Write, read: Read) -> None:
    text = "Ein Gebäude, größer als die übrigen Häuser, fällt allen Fußgängern auf: schön!"
    path = write("a.txt", text.encode() + b"\x80")
    found, problems = read()
    assert [d.text for d in found] == [text + "\ufffd"]
    assert [(p.path, p.reason) for p in problems] == [(str(path), REPLACED)]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.txt.zst"])
def test_a_long_text_is_several_documents(
    name: str, write: Write, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (chunks, streams, texts):
        monkeypatch.setattr(module, "LONGEST", 1000)
    monkeypatch.setattr(splitting, "PIECE", 100)
    content = "".join(f"line {number} of a long text\n" for number in range(100))
    write(name, content)
    found, problems = read()
    assert "".join(d.text for d in found) == content
    assert [d.id for d in found] == [f"in/{name}:{n}" for n in range(1, len(found) + 1)]
    assert len(found) == -(-len(content) // 100)
    assert not problems
    for limit in (1, 250, 999):
        assert read(limit=limit) == (found, problems)


def test_a_long_text_in_utf16_is_refused(
    write: Write, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (chunks, streams, texts):
        monkeypatch.setattr(module, "LONGEST", 1000)
    write("a.txt", ("line\n" * 500).encode("utf-16"))
    write("b.txt.gz", ("line\n" * 500).encode("utf-16"))
    write("c.txt", "the rest")
    found, problems = read()
    assert [d.text for d in found] == ["the rest"]
    assert [p.reason for p in problems] == [splitting.TOO_WIDE] * 2
