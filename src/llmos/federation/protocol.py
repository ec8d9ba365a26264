"""What members and coordinator send each other, and the mailbox it goes through.

Everything sent is a signed object (a JSON manifest, kinds below) or a blob that a manifest names by
its sha256. Whatever moves them (a folder, Flower, a stick) implements `Exchange` and no more.

    key in the exchange              written by    kind
    ledger/00000012                  coordinator   ledger        one line of the ledger
    join/NAME                        member        join          key, recipe hash, data card
    counts/NAME                      member        counts        piece counts (blob)
    evaluations/validation-00003/NAME member       evaluation    sums on held-out text
    evaluations/test-00060/NAME      member        evaluation
    updates/00004/NAME               member        update        pseudo-gradient (blob), or declined
    closing/NAME                     member        closing       the head of the ledger it verified
    blobs/<sha256>                   both          weights, updates, counts, tokenizer
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from llmos.errors import ProtocolError
from llmos.records import JSON, canonical_json
from llmos.storage import sha256_hex

WIRE_VERSION = 1
MOST_MANIFEST_BYTES = 1 << 20
"""A manifest takes some kilobytes; what is larger is refused before it is parsed."""


class Exchange(Protocol):
    """A mailbox of small immutable objects under keys; every write is atomic."""

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        """Store `data` under `key`; `durable`: it survives a power cut once this returns."""

    def get(self, key: str) -> bytes | None:
        """The object, or None where there is none."""

    def list(self, prefix: str) -> list[str]:
        """The keys that begin with the folder `prefix`, sorted."""

    def delete(self, key: str) -> None:
        """Forget the object, if it is there."""


def is_sha256(value: object) -> bool:
    """Whether `value` is 64 lower-case hexadecimal digits."""
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def put_blob(exchange: Exchange, data: bytes, *, durable: bool = True) -> str:
    """Store `data` under its own sha256 and return that."""
    digest = sha256_hex(data)
    exchange.put(f"blobs/{digest}", data, durable=durable)
    return digest


def get_blob(exchange: Exchange, digest: str) -> bytes:
    """The blob with this sha256. Raises `ProtocolError` where it is missing or differs."""
    if not is_sha256(digest):
        raise ProtocolError(f"{str(digest)[:80]!r} is not a sha256")
    data = exchange.get(f"blobs/{digest}")
    if data is None:
        raise ProtocolError(f"blob {digest} is not in the exchange")
    if (found := sha256_hex(data)) != digest:
        raise ProtocolError(f"blob {digest} is damaged: its sha256 is {found}")
    return data


def post(exchange: Exchange, key: str, signed: JSON, *, durable: bool = False) -> None:
    """Store a signed object as canonical JSON."""
    exchange.put(key, canonical_json(signed), durable=durable)


def fetch(exchange: Exchange, key: str) -> JSON | None:
    """The signed object under `key`, not yet verified; None where there is none.

    Raises `ProtocolError` for anything but a JSON object in canonical form (so that one meaning has
    one hash) of at most `MOST_MANIFEST_BYTES`.
    """
    data = exchange.get(key)
    if data is None:
        return None
    if len(data) > MOST_MANIFEST_BYTES:
        raise ProtocolError(f"{key} has {len(data)} bytes, more than {MOST_MANIFEST_BYTES}")
    try:
        value: Any = json.loads(data)
        is_canonical = canonical_json(value) == data
    except (ValueError, RecursionError, ProtocolError) as error:
        raise ProtocolError(f"{key} is not JSON: {error or type(error).__name__}") from error
    if not isinstance(value, dict):
        raise ProtocolError(f"{key} is not a JSON object")
    if not is_canonical:
        raise ProtocolError(f"{key} is not in canonical form (RFC 8785)")
    return value


def ledger_key(index: int) -> str:
    return f"ledger/{index:08d}"


def update_key(round_number: int, member: str) -> str:
    return f"updates/{round_number:05d}/{member}"


def evaluation_key(split: str, round_number: int, member: str) -> str:
    return f"evaluations/{split}-{round_number:05d}/{member}"
