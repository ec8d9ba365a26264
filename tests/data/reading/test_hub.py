"""Data sets by their names on a hub: out of the local cache, as huggingface_hub lays it out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import constants

from llmos.data.reading.chunks import plan
from llmos.data.reading.hub import fetch, is_hub_id
from llmos.errors import DataError

if TYPE_CHECKING:
    from tests.data.reading.conftest import Read

COMMIT = "0123456789abcdef0123456789abcdef01234567"
README = b"---\nlicense: apache-2.0\nlanguage: [sw, en]\n---\nText about it.\n"
FILES = {"README.md": README, "data/train.jsonl": b'{"text": "Habari."}\n', ".gitattributes": b"x"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_data_set_in_the_cache(cache: Path, read: Read) -> None:
    folder = cache / "datasets--some-org--some-set"
    for name, content in FILES.items():
        blob = folder / "blobs" / name.replace("/", "-")
        link = folder / "snapshots" / COMMIT / name
        for path in (blob, link):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link.symlink_to(blob)
    (folder / "refs").mkdir()
    (folder / "refs/main").write_text(COMMIT)
    found, problems = read("some-org/some-set")
    assert [(d.id, d.text) for d in found] == [("some-org/some-set/data/train.jsonl:1", "Habari.")]
    assert not problems
    (card,) = plan(["some-org/some-set"]).cards
    assert (card.source, card.revision) == ("some-org/some-set", COMMIT)
    assert (card.licence, card.languages) == ("apache-2.0", ("en", "sw"))


def test_one_that_is_not_there(cache: Path) -> None:
    with pytest.raises(DataError, match=r"some-org/other .*: \w") as caught:
        fetch("some-org/other")
    assert "\n" not in str(caught.value)


def test_a_folder_goes_before_a_name(cache: Path, read: Read) -> None:
    (cache / "some-org/some-set").mkdir(parents=True)
    (cache / "some-org/some-set/a.txt").write_text("local")
    found, _ = read("some-org/some-set")
    assert [(d.id, d.text) for d in found] == [("some-set/a.txt", "local")]


def test_names() -> None:
    assert is_hub_id("org/name") and is_hub_id("a.b/c-d_e.f")
    for source in ("name", "/abs/path", "./rel/path", "a/b/c", "a/b c", "../x", "org/"):
        assert not is_hub_id(source)
