"""Documents taken out of a prepared folder afterwards; killed at every step on the way."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmos.data.card import card_sha256, read_card
from llmos.data.documents import Document
from llmos.data.optouts import exchange as exchanging
from llmos.data.optouts.retract import Retraction, retract
from llmos.errors import DataError, StorageError
from llmos.records import JSON
from llmos.storage import exclusive_lock

HOSTS = ("example.org", "www.example.org", "other.example", "third.example", "")


def _documents(start: int, count: int) -> list[Document]:
    return [
        Document(
            f"{n}",
            f"Text number {n}.",
            language="en" if n % 3 else "de",
            source="pages",
            licence="CC-BY-4.0",
            url=f"https://{host}/{n}" if (host := HOSTS[n % len(HOSTS)]) else "",
        )
        for n in range(start, start + count)
    ]


FILES = [_documents(0, 10), [d for d in _documents(10, 10) if "example.org" not in d.url]]


Prepare = Callable[..., JSON]
Contents = Callable[[Path], dict[str, bytes]]


@pytest.fixture
def make(tmp_path: Path, prepare_folder: Prepare) -> Callable[[], Path]:
    def make() -> Path:
        tokens = {"tokens": 99, "tokenizer_sha256": "0"}
        prepare_folder(tmp_path / "folder", FILES, tokens=tokens)
        (tmp_path / "folder" / "notes").mkdir()
        (tmp_path / "folder" / "notes" / "a.txt").write_text("stays")
        return tmp_path / "folder"

    return make


@pytest.fixture
def folder(make: Callable[[], Path]) -> Path:
    return make()


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    (tmp_path / "lists" / "third.example").mkdir(parents=True)
    (tmp_path / "lists" / "domains.txt").write_text("example.org\n")
    (tmp_path / "lists" / "third.example" / "robots.txt").write_text(
        "User-agent: CCBot\nDisallow: /3$\n"
    )
    return tmp_path / "lists"


def test_documents_go_and_the_card_says_so(
    folder: Path, lists: Path, tmp_path: Path, prepare_folder: Prepare, contents: Contents
) -> None:
    before = read_card(folder)
    untouched = folder / "documents" / "00001.jsonl.gz"
    old = untouched.read_bytes()
    found = retract(folder, [lists])
    stay = [
        [d for d in documents if "example.org" not in d.url and not d.url.endswith("/3")]
        for documents in FILES
    ]
    expected = prepare_folder(tmp_path / "expected", stay)
    card = read_card(folder)
    assert found == Retraction(
        removed={"domains.txt": 4, "third.example/robots.txt": 1},
        kept=sum(map(len, stay)),
        without_url=4,
        card=(card_sha256(before), card_sha256(card)),
        content=(before["content_sha256"], expected["content_sha256"]),
    )
    assert {**card, "dropped": None} == {
        **expected,
        "dropped": None,
        "read": before["read"],
        "optouts": {"domains.txt": 4, "third.example/robots.txt": 1},
    }
    assert card["dropped"] == {"duplicate_exact": 3, "opted_out": 5}
    assert untouched.read_bytes() == old
    made, wanted = contents(folder), contents(tmp_path / "expected")
    assert {n: made[n] for n in made if n.startswith("documents")} == {
        n: wanted[n] for n in wanted if n.startswith("documents")
    }
    assert made["notes/a.txt"] == b"stays"
    assert b"opted_out" in made["card.md"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["expected", "folder", "lists"]


def test_again_changes_nothing(folder: Path, lists: Path, contents: Contents) -> None:
    first = retract(folder, [lists])
    state = contents(folder)
    again = retract(folder, [lists])
    assert contents(folder) == state
    assert again.removed == {} and again.card == (first.card[1],) * 2
    # A list that comes later is added to what the card says.
    (lists / "domains.txt").write_text("other.example\n")
    retract(folder, [lists / "domains.txt"])
    card = read_card(folder)
    assert card["optouts"] == {"domains.txt": 8, "third.example/robots.txt": 1}
    assert card["dropped"]["opted_out"] == 9


def _killed_at(step: int, calls: Sequence[str], run: Callable[[], Any]) -> bool:
    """Run in a process that dies before the given one of its system calls of these names.

    Whether it died; False where it came to its end before."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0
    left = step

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os._exit(9)
            return call(*arguments, **options)

        return wrapped

    try:
        for name in calls:
            setattr(os, name, dying(getattr(os, name)))
        exchanging._swap = dying(exchanging._swap)
        run()
        os._exit(0)
    except BaseException:
        os._exit(1)


ALL = ("link", "rename", "replace", "unlink", "rmdir", "mkdir", "fsync")


@pytest.mark.parametrize(
    ("can_swap", "calls"),
    [
        (True, ("replace",)),
        (False, ("rename",)),
        pytest.param(True, ALL, marks=pytest.mark.slow),
        pytest.param(False, ALL, marks=pytest.mark.slow),
    ],
)
def test_killed_anywhere_it_is_the_old_folder_or_the_new_one(
    make: Callable[[], Path],
    lists: Path,
    tmp_path: Path,
    can_swap: bool,
    calls: Sequence[str],
    monkeypatch: pytest.MonkeyPatch,
    contents: Contents,
) -> None:
    if not can_swap:
        monkeypatch.setattr(exchanging, "_swap", lambda new, old: False)
    folder = make()
    old = contents(folder)
    shutil.copytree(folder, tmp_path / "done")
    retract(tmp_path / "done", [lists])
    new = contents(tmp_path / "done")
    seen = set()
    step = 0
    while _killed_at(step, calls, lambda: retract(folder, [lists])):
        if folder.exists():
            state = contents(folder)
            assert state in (old, new), step
            seen.add("old" if state == old else "new")
        else:
            assert not can_swap, step  # out of the way for a moment, never a part
            seen.add("none")
        retract(folder, [lists])
        assert contents(folder) == new
        assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
        shutil.rmtree(folder)
        make()
        step += 1
    assert step > (15 if calls is ALL else 2)
    assert seen >= {"old"} and ("none" in seen) is not can_swap
    assert "new" in seen or calls is not ALL


def test_what_is_not_as_the_card_says_is_refused(
    folder: Path, lists: Path, contents: Contents
) -> None:
    state = contents(folder)
    file = folder / "documents" / "00001.jsonl.gz"
    file.write_bytes((folder / "documents" / "00000.jsonl.gz").read_bytes())
    with pytest.raises(DataError, match=r"00001\.jsonl\.gz is not what card\.json says"):
        retract(folder, [lists])
    file.write_bytes(state["documents/00001.jsonl.gz"][:-20])
    with pytest.raises(DataError, match="is damaged"):
        retract(folder, [lists])
    file.unlink()
    with pytest.raises(DataError, match=r"00001\.jsonl\.gz is missing"):
        retract(folder, [lists])
    (folder / "card.json").unlink()
    with pytest.raises(DataError, match=r"has no card\.json"):
        retract(folder, [lists])


def test_one_at_a_time(folder: Path, lists: Path, tmp_path: Path) -> None:
    with (
        exclusive_lock(tmp_path / ".folder.lock", "held"),
        pytest.raises(StorageError, match="another process"),
    ):
        retract(folder, [lists])


def test_a_name_that_leads_to_the_folder_goes_on_leading_there(
    folder: Path, lists: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("folder")
    retract(tmp_path / "link", [lists])
    assert (tmp_path / "link").is_symlink()
    assert read_card(folder)["dropped"]["opted_out"] == 5
