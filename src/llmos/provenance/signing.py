"""Ed25519 signatures over canonical JSON (RFC 8032, RFC 8785), with one domain per kind of object.

The signed bytes are `llmos/<kind>/v1`, a newline, then the canonical JSON of the object with its
`signer` and without its `signature`. The first line keeps a signature made for one kind of object
from being passed off as another kind's.
"""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from llmos.errors import ProtocolError, SignatureError, StorageError, UsageError
from llmos.records import canonical_json
from llmos.storage import fsync_folder, storage_errors

_KIND = re.compile(r"[a-z][a-z0-9_]*")
_PUBLIC = re.compile(r"[0-9a-f]{64}")
_SIGNATURE = re.compile(r"[0-9a-f]{128}")

# The field of Curve25519, and y of its points of order 1, 2, 4 and 8 (RFC 8032, section 5.1). For
# such a key one signature verifies under many messages, so it can bind nobody to what was signed.
_FIELD = 2**255 - 19
_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER_Y = {0, 1, _FIELD - 1, _ORDER_8, _FIELD - _ORDER_8}


@dataclass(frozen=True)
class SigningKey:
    """A member's or the coordinator's key pair; `public` is 64 lower-case hexadecimal digits."""

    public: str
    private: Ed25519PrivateKey = field(repr=False, compare=False)


def _signing_key(private: Ed25519PrivateKey) -> SigningKey:
    return SigningKey(private.public_key().public_bytes_raw().hex(), private)


def generate_key(path: Path, passphrase: str | None = None) -> SigningKey:
    """Make a key pair and write its private key to `path` (PKCS#8 PEM, mode 0600).

    With `passphrase` the file is encrypted. The file appears whole or not at all. Raises
    `StorageError` when `path` exists (a key is never overwritten) or cannot be written.
    """
    if passphrase == "":
        raise UsageError("the passphrase is empty: give one, or leave it out for an unlocked key")
    private = Ed25519PrivateKey.generate()
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
            os.link(name, path)  # unlike a rename, fails when the target exists
        except FileExistsError as error:
            raise StorageError(
                f"{path} exists and a key is never overwritten: load it, or choose another path"
            ) from error
        finally:
            os.unlink(name)
        fsync_folder(path.parent)
    return _signing_key(private)


def load_key(path: Path, passphrase: str | None = None) -> SigningKey:
    """Read the private key that `generate_key` wrote.

    Raises `StorageError` when it is missing, damaged, readable by others, not an Ed25519 key, or
    locked with another passphrase.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(
            f"cannot read the key {path}: {error.strerror or error}: check the path, or generate "
            "a key there"
        ) from error
    if mode & 0o077:
        raise StorageError(
            f"the key {path} is open to other users (mode {mode:o}): run chmod 600 on it"
        )
    secret = passphrase.encode() if passphrase else None
    try:
        private = serialization.load_pem_private_key(data, secret)
    except TypeError as error:
        told = "is not locked: load it without" if passphrase else "is locked: give its"
        raise StorageError(f"the key {path} {told} passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        next_step = "check the passphrase, or restore" if passphrase else "restore"
        raise StorageError(f"the key {path} cannot be read: {next_step} it from a copy") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise StorageError(f"the key {path} is not an Ed25519 key: generate one with llmos")
    return _signing_key(private)


def open_key(path: Path) -> SigningKey:
    """The key at `path`, made on first use. Raises like `load_key` and `generate_key`."""
    return load_key(path) if path.exists() else generate_key(path)


def link_key(path: Path, file: Path) -> None:
    """Let `path` lead to the private key in `file`, which stays where it is and is not copied.

    Done twice, it changes nothing. Raises `StorageError` like `load_key`, and where `path` is
    another key already.
    """
    wanted = load_key(file)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_symlink() and not path.exists():
            path.symlink_to(file.resolve())
    if load_key(path) != wanted:
        raise StorageError(
            f"{path} is another key than {file}: a run keeps the keys that it was started with"
        )


def sign(key: SigningKey, kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """`body` with `signer` (the public key) and `signature` added, both as hexadecimal text.

    Raises `ProtocolError` for a body that has no canonical JSON form, that would read back
    differently, or that already has a `signer` or a `signature`.
    """
    for name in ("signer", "signature"):
        if name in body:
            raise ProtocolError(f"a {kind} to be signed already has {name!r}: sign its body only")
    signed = {**body, "signer": key.public}
    message = _message(kind, signed)
    text = message.split(b"\n", 1)[1]
    # A float such as 1e16 is written like an integer over 2^53, which readers refuse.
    if canonical_json(json.loads(text)) != text:
        raise ProtocolError(f"the {kind} does not read back as it was written: simplify its values")
    return {**signed, "signature": key.private.sign(message).hex()}


def verify(kind: str, signed: Any, public: str | None = None) -> dict[str, Any]:
    """Check the signature of `signed` and return its body, without signer and signature.

    With `public` the signer must be that key; without it, any key will do, and the caller has to
    ask whose it is. Raises `SignatureError` for everything that does not verify, whatever its type.
    """
    if not isinstance(signed, dict):
        raise SignatureError(f"a {kind} is a JSON object, not {type(signed).__name__}: ask again")
    signer, signature = signed.get("signer"), signed.get("signature")
    if not (isinstance(signer, str) and _PUBLIC.fullmatch(signer)):
        raise SignatureError(
            f"the signer of a {kind} is {_short(signer)}, not 64 lower-case hexadecimal digits: "
            "ask its sender for it again"
        )
    if not (isinstance(signature, str) and _SIGNATURE.fullmatch(signature)):
        raise SignatureError(
            f"the signature of a {kind} by {signer[:16]} is {_short(signature)}, not 128 "
            "lower-case hexadecimal digits: ask its sender for it again"
        )
    if public is not None and signer != public:
        raise SignatureError(
            f"a {kind} is signed by {signer[:16]} instead of {_short(public)}: get it from its "
            "owner, or check which key was admitted"
        )
    y = int.from_bytes(bytes.fromhex(signer), "little") & (2**255 - 1)
    if y >= _FIELD or y in _SMALL_ORDER_Y:
        raise SignatureError(
            f"the signer {signer[:16]} of a {kind} is a weak key that binds nobody: "
            "generate a new one with llmos"
        )
    try:
        message = _message(kind, {k: v for k, v in signed.items() if k != "signature"})
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer))
        key.verify(bytes.fromhex(signature), message)
    except InvalidSignature as error:
        raise SignatureError(
            f"the signature of a {kind} by {signer[:16]} does not verify: it was changed after "
            "signing or signed with another key: ask its sender for it again"
        ) from error
    except (ProtocolError, ValueError) as error:
        raise SignatureError(
            f"a {kind} by {signer[:16]} cannot be checked ({error}): ask its sender for it again"
        ) from error
    return {k: v for k, v in signed.items() if k not in ("signer", "signature")}


def _message(kind: str, body: dict[str, Any]) -> bytes:
    if not _KIND.fullmatch(kind):
        raise ProtocolError(f"kind {kind!r}: use lower-case letters, digits and underscores")
    try:
        return f"llmos/{kind}/v1\n".encode() + canonical_json(body)
    except RecursionError as error:
        raise ProtocolError(f"the {kind} is nested too deeply: flatten it") from error


def _short(value: object) -> str:
    """A value of unknown origin, short enough for one line."""
    text = repr(value) if isinstance(value, str | int | float | None) else type(value).__name__
    return text if len(text) <= 24 else text[:20] + "..."
