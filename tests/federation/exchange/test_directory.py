"""The exchange over a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmos.errors import ProtocolError, StorageError
from llmos.federation.exchange.directory import DirectoryExchange


def test_objects_are_put_got_listed_and_deleted(tmp_path: Path) -> None:
    exchange = DirectoryExchange(tmp_path / "exchange")
    assert exchange.list("updates") == [] and exchange.get("updates/1/a") is None
    exchange.put("updates/1/b", b"2")
    exchange.put("updates/1/a", b"1", durable=False)
    exchange.put("updates/1/a", b"3")
    (tmp_path / "exchange" / "updates" / "1" / ".a.99.tmp").write_bytes(b"half")
    assert exchange.get("updates/1/a") == b"3"
    assert exchange.list("updates") == ["updates/1/a", "updates/1/b"]
    exchange.delete("updates/1/a")
    exchange.delete("updates/1/a")
    assert exchange.list("updates/1") == ["updates/1/b"]


BAD_KEYS = ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".hidden", "a/.b", "a\\b"]
BAD_KEYS += ["a b", "é", "a\n", "a\0"]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_key_cannot_leave_the_folder(tmp_path: Path, key: str) -> None:
    exchange = DirectoryExchange(tmp_path / "exchange")
    for use in (exchange.get, exchange.list, exchange.delete, lambda k: exchange.put(k, b"")):
        with pytest.raises(ProtocolError, match="is not a key"):
            use(key)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_where_an_object_should_be_is_one_line(tmp_path: Path) -> None:
    exchange = DirectoryExchange(tmp_path)
    (tmp_path / "join" / "anna").mkdir(parents=True)
    for use in (exchange.get, exchange.delete, lambda k: exchange.put(k, b"")):
        with pytest.raises(StorageError, match="join/anna"):
            use("join/anna")
