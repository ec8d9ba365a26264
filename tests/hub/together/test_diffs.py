"""Diffs are those that git can apply."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from llmos.hub.git import trees, versions
from llmos.hub.together import diffs

CASES = {
    "one line": (b"a\nb\nc\n", b"a\nB\nc\n"),
    "no end": (b"a\nb", b"a\nb\n"),
    "end lost": (b"a\nb\n", b"a\nb"),
    "both without end": (b"a\nb", b"a\nc"),
    "carriage returns": (b"a\r\nb\r\n", b"a\r\nc\r\n"),
    "new": (None, b"x\ny\n"),
    "new and empty": (None, b""),
    "gone": (b"x\ny\n", None),
    "emptied": (b"x\n", b""),
    "unicode": ("é\u2028ü\n".encode(), "é\u2028ö\x0c\n".encode()),
    "far apart": (b"\n".join(b"%d" % n for n in range(90)) + b"\n", None),
}


def _apply(folder: Path, before: bytes | None, diff: str) -> bytes | None:
    folder.mkdir()
    file = folder / "f.txt"
    if before is not None:
        file.write_bytes(before)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    command = ["git", "apply", "--whitespace=nowarn", "-"]
    subprocess.run(command, cwd=folder, check=True, input=diff.encode())
    return file.read_bytes() if file.exists() else None


def _diff(shop, before: bytes | None, after: bytes | None) -> str:
    repo = shop.repo(f"acme/r{random.getrandbits(40)}")
    if before is not None:
        shop.commit(repo, {"f.txt": before})
    old = shop.head(repo).tree
    if before != after:
        shop.commit(repo, {"f.txt": after})
    with shop.hub.database.read() as connection:
        new = versions.resolve(connection, repo.id, "main").tree
        return diffs.unified(shop.hub, list(trees.differences(connection, old, new)))


@pytest.mark.parametrize("name", CASES)
def test_git_applies_them(shop, tmp_path: Path, name: str) -> None:
    before, after = CASES[name]
    if name == "far apart":
        after = before.replace(b"\n5\n", b"\nfive\n").replace(b"\n70\n", b"\n70\nmore\n")
    diff = _diff(shop, before, after)
    assert _apply(tmp_path / "r", before, diff) == after
    assert diff.count("@@ -") == (0 if not before and not after else 1 + (name == "far apart"))


def test_random_texts(shop, tmp_path: Path, monkeypatch) -> None:
    choose = random.Random(3)
    for number in range(25):
        monkeypatch.setattr(diffs, "MOST_LINES", choose.choice([4, 3000]))
        lines = [choose.choice("abc") for _ in range(choose.randrange(1, 40))]
        other = [
            choose.choice("abcd") if choose.random() < 0.1 else line
            for line in lines
            if choose.random() > 0.05
        ]
        before = "\n".join(lines).encode() + choose.choice([b"", b"\n"])
        after = "\n".join(other).encode() + choose.choice([b"", b"\n"])
        if before != after:
            diff = _diff(shop, before, after)
            assert _apply(tmp_path / str(number), before, diff) == after


def test_what_is_large_or_no_text_is_only_named(shop, monkeypatch) -> None:
    for content in (b"a\0b", b"\xff\xfe", b"x" * (diffs.LARGEST_FILE + 1)):
        diff = _diff(shop, b"old\n", content)
        assert "Binary files a/f.txt and b/f.txt differ" in diff and "old" not in diff
    monkeypatch.setattr(diffs, "LONGEST", 100)
    assert "1 more files are changed" in _diff(shop, None, b"line\n" * 100)
