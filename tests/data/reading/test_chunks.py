"""The plan: what is found, in what chunks, and a clear line for all that is not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llmos.data.reading.chunks import EMPTY, NO_PARTNER, NOT_READ, NOT_TEXT, TWICE, plan
from llmos.data.reading.finding import BAD_CARD, DEAD_LINK, FOLDER_LINK, LEGAL, NO_FILE
from llmos.errors import DataError

if TYPE_CHECKING:
    from tests.data.reading.conftest import Read, Write

FRONT_MATTER = """---
license: cc-by-4.0
language:
- sw
pretty_name: "A: data set"
---
# A data set
"""


def test_files_are_gathered_into_chunks_in_order(write: Write, tmp_path: Path) -> None:
    for number in range(20):
        write(f"{number:02d}.txt", "x" * 100)
    write("05.txt", "y" * 950)
    chunks = plan([str(tmp_path / "in")], limit=1000).chunks
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert [len(chunk.parts) for chunk in chunks] == [5, 1, 10, 4]
    parts = [part for chunk in chunks for part in chunk.parts]
    assert [part.name for part in parts] == [f"in/{number:02d}.txt" for number in range(20)]
    assert {part.source for part in parts} == {"in"}


def test_the_same_input_gives_the_same_plan(write: Write, tmp_path: Path) -> None:
    for name in ("b/2.txt", "a.jsonl", "b/1.md", "c.csv"):
        write(name, "x")
    source = [str(tmp_path / "in")]
    assert plan(source).to_json() == plan(source).to_json()
    assert [p.name for p in plan(source).chunks[0].parts] == [
        "in/a.jsonl",
        "in/b/1.md",
        "in/b/2.txt",
        "in/c.csv",
    ]


def test_names_of_sources_and_ids_differ(write: Write, read: Read, tmp_path: Path) -> None:
    for folder in ("x/data", "y/data", "y/data-2"):
        write(f"{folder}/a.txt", folder)
    write("x/data/a:b%.txt", "odd")
    found, problems = read(*(tmp_path / "in" / f for f in ("x/data", "y/data", "y/data-2")))
    assert not problems
    assert {d.id: d.text for d in found} == {
        "data/a.txt": "x/data",
        "data/a%3Ab%25.txt": "odd",
        "data-2/a.txt": "y/data",
        "data-2-2/a.txt": "y/data-2",
    }
    single, _ = read(tmp_path / "in/x/data/a.txt")
    assert [d.id for d in single] == ["a.txt"]


def test_a_name_that_is_no_unicode(read: Read, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with open(os.fsencode(tmp_path / "in") + b"/\xe9.txt", "w") as file:
        file.write("text")
    found, _ = read()
    assert [(d.id, d.text) for d in found] == [("in/%E9.txt", "text")]


def test_what_cannot_be_read_is_told_and_the_rest_goes_on(
    write: Write, read: Read, tmp_path: Path
) -> None:
    write("good.txt", "good")
    write("code.py", "print()")
    write("README", "no suffix")
    write("odd.suffix", "text all the same")
    write("picture.png", b"\x89PNG\r\n\x1a\n\0\0")
    write("music.abc", bytes(range(256)))
    write("page.xml", "<a>x</a>")
    write("LICENSE", "free")
    write("LICENSES/MIT.txt", "free")
    write("empty.txt", "")
    write("blank.txt", " \n")
    write("nul.txt", "a\0b")
    write(".hidden", "x")
    write(".git/config", "x")
    write("only.en-sw.en", "x")
    write("bad/card.json", "[1]")
    inside = tmp_path / "in"
    (inside / "loop").symlink_to(inside)
    (inside / "self").symlink_to(inside / "self")
    (inside / "dead").symlink_to(inside / "nowhere")
    (inside / "link.txt").symlink_to(inside / "good.txt")
    os.mkfifo(inside / "pipe")
    found, problems = read(inside, tmp_path / "missing", inside)
    assert {d.id: d.text for d in found} == {
        "in/good.txt": "good",
        "in/link.txt": "good",
        "in/code.py": "print()",
        "in/README": "no suffix",
        "in/odd.suffix": "text all the same",
    }
    told = {problem.path.removeprefix(f"{inside}/"): problem.reason for problem in problems}
    assert told == {
        "picture.png": NOT_TEXT,
        "music.abc": NOT_TEXT,
        "page.xml": NOT_READ,
        "LICENSE": NOT_READ,
        "LICENSES": LEGAL,
        "empty.txt": EMPTY,
        "blank.txt": "no text",
        "nul.txt": "not text: it holds NUL bytes",
        "only.en-sw.en": NO_PARTNER,
        "bad/card.json": BAD_CARD,
        "loop": FOLDER_LINK,
        "self": DEAD_LINK,
        "dead": DEAD_LINK,
        "pipe": NO_FILE,
        str(tmp_path / "missing"): "cannot be read (No such file or directory)",
        str(inside): TWICE,
    }


def test_files_and_folders_without_permission(write: Write, read: Read) -> None:
    write("good.txt", "good")
    secret = write("secret.txt", "x")
    secret.chmod(0)
    if os.access(secret, os.R_OK):
        pytest.skip("this user may read everything")
    closed = write("closed/a.txt", "x").parent
    closed.chmod(0)
    found, problems = read()
    closed.chmod(0o700)
    assert [d.id for d in found] == ["in/good.txt"]
    assert {p.reason for p in problems} == {"cannot be read (Permission denied)"}
    assert len(problems) == 2


def test_a_file_that_vanishes_or_shrinks(write: Write, tmp_path: Path) -> None:
    from llmos.data.reading.chunks import read_part
    from llmos.data.reading.parts import Problem
    from llmos.recipe import DataSection

    gone, short = write("a.txt", "gone"), write("b.jsonl", '{"text": "one"}\n{"text": "two"}\n')
    (chunk,) = plan([str(tmp_path / "in")]).chunks
    gone.unlink()
    short.write_text('{"text": "one"}\n')
    found = [[*read_part(part, DataSection(), "text")] for part in chunk.parts]
    assert found[0] == [Problem(str(gone), "cannot be read (No such file or directory)")]
    assert [getattr(x, "id", None) or getattr(x, "reason", None) for x in found[1]] == [
        "in/b.jsonl:1",
        "became shorter while it was read",
    ]


@pytest.mark.parametrize("what", ["nothing", "an empty folder", "no text", "hub", "missing"])
def test_nothing_at_all_is_an_error_of_one_line(
    what: str, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "in").mkdir()
    if what == "no text":
        write("a.xml", "<x/>")
    sources = {"nothing": [], "hub": ["some-org/some-set"], "missing": ["no/such/folder"]}
    with pytest.raises(DataError, match=r": \w") as caught:
        plan(sources.get(what, [str(tmp_path / "in")]))
    assert "\n" not in str(caught.value)
    if what in ("hub", "missing"):
        assert sources[what][0] in str(caught.value)


def test_cards_state_licence_and_language(write: Write, tmp_path: Path) -> None:
    card = {"languages": ["en", "de"], "licence": "CC0-1.0 OR MIT", "synthetic": True}
    write("card.json", json.dumps(card))
    write("a.txt", "x")
    write("hub/README.md", FRONT_MATTER)
    write("hub/data/train.jsonl", '{"text": "x"}')
    write("plain/README.md", "# A text like others")
    made = plan([str(tmp_path / "in"), str(write("b/single.txt", "x"))])
    parts = {part.name: part for chunk in made.chunks for part in chunk.parts}
    stated = {name: (part.licence, part.language) for name, part in parts.items()}
    assert stated == {
        "in/a.txt": ("CC0-1.0 OR MIT", ""),
        "in/b/single.txt": ("CC0-1.0 OR MIT", ""),
        "in/hub/data/train.jsonl": ("cc-by-4.0", "sw"),
        "in/plain/README.md": ("CC0-1.0 OR MIT", ""),
        "single.txt": ("", ""),
    }
    first = made.cards[0]
    assert first.licence == "(CC0-1.0 OR MIT) AND cc-by-4.0"
    assert (first.languages, first.synthetic) == (("de", "en", "sw"), True)
    assert [card.source for card in made.cards] == ["in", "single.txt"]
