"""Objects and blobs in an exchange."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmos.errors import ProtocolError
from llmos.federation.exchange.directory import DirectoryExchange
from llmos.federation.protocol import (
    MOST_MANIFEST_BYTES,
    evaluation_key,
    fetch,
    get_blob,
    is_sha256,
    ledger_key,
    post,
    put_blob,
    update_key,
)
from llmos.storage import sha256_hex


@pytest.fixture
def exchange(tmp_path: Path) -> DirectoryExchange:
    return DirectoryExchange(tmp_path)


def test_a_blob_has_the_name_of_its_content(exchange: DirectoryExchange) -> None:
    digest = put_blob(exchange, b"weights")
    assert digest == sha256_hex(b"weights")
    assert get_blob(exchange, digest) == b"weights"
    exchange.put(f"blobs/{digest}", b"weightS")
    with pytest.raises(ProtocolError, match=f"{digest} is damaged"):
        get_blob(exchange, digest)


def test_a_blob_that_is_not_there(exchange: DirectoryExchange) -> None:
    with pytest.raises(ProtocolError, match="is not in the exchange"):
        get_blob(exchange, "0" * 64)


@pytest.mark.parametrize(
    "digest", ["", "0" * 63, "G" * 64, "A" * 64, 5, None, ["0"] * 64, "٣" * 64]
)
def test_what_is_no_sha256(exchange: DirectoryExchange, digest: str) -> None:
    assert not is_sha256(digest)
    with pytest.raises(ProtocolError, match="is not a sha256"):
        get_blob(exchange, digest)


def test_a_posted_object_comes_back_in_canonical_form(exchange: DirectoryExchange) -> None:
    post(exchange, "join/anna", {"b": 1.0, "a": "小"})
    assert exchange.get("join/anna") == '{"a":"小","b":1}'.encode()
    assert fetch(exchange, "join/anna") == {"a": "小", "b": 1}
    assert fetch(exchange, "join/ben") is None


@pytest.mark.parametrize(
    "data",
    [b"{ }", b'{"b":1,"a":2}', b'{"a":1.0}', b'{"a":1,"a":2}', b'{"a":1E2}', b'{"a":"\\u0041"}'],
)
def test_one_meaning_has_one_form(exchange: DirectoryExchange, data: bytes) -> None:
    exchange.put("x/y", data)
    with pytest.raises(ProtocolError, match="x/y is not in canonical form"):
        fetch(exchange, "x/y")


def test_a_manifest_may_be_large_but_not_huge(exchange: DirectoryExchange) -> None:
    exchange.put("x/y", b'{"a":"' + b"x" * (MOST_MANIFEST_BYTES - 8) + b'"}')
    assert fetch(exchange, "x/y") is not None
    exchange.put("x/y", b'{"a":"' + b"x" * (MOST_MANIFEST_BYTES - 7) + b'"}')
    with pytest.raises(ProtocolError, match="more than"):
        fetch(exchange, "x/y")


def test_keys_sort_as_their_numbers_do() -> None:
    assert ledger_key(9) < ledger_key(10) < ledger_key(12345)
    assert update_key(9, "a") < update_key(10, "a")
    assert evaluation_key("test", 60, "anna") == "evaluations/test-00060/anna"
