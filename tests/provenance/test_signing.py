from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.errors import ProtocolError, SignatureError, StorageError, UsageError
from llmos.provenance import signing
from llmos.provenance.signing import SigningKey, generate_key, link_key, load_key, sign, verify

KEY = signing._signing_key(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER = signing._signing_key(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8)
    | st.floats(-1e6, 1e6),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
bodies = st.dictionaries(
    st.text(max_size=8).filter(lambda k: k not in ("signer", "signature")), json_values, max_size=5
)


def test_the_signed_bytes_are_domain_line_and_canonical_json() -> None:
    signed = sign(KEY, "update", {"b": 1, "a": "ü"})
    message = f'llmos/update/v1\n{{"a":"ü","b":1,"signer":"{KEY.public}"}}'.encode()
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(KEY.public))
    public.verify(bytes.fromhex(signed["signature"]), message)  # raises if the bytes differ
    assert list(signed) == ["b", "a", "signer", "signature"]


def test_rfc_8032_test_vector_1_is_the_key_pair() -> None:
    secret = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
    key = signing._signing_key(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)))
    assert key.public == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


@settings(deadline=None)
@given(bodies)
def test_a_body_comes_back_also_through_json(body: dict[str, Any]) -> None:
    try:
        signed = sign(KEY, "update", body)
    except ProtocolError:  # text with lone surrogates has no canonical form
        assert "\\ud" in json.dumps(body)
        return
    assert verify("update", signed) == body
    assert verify("update", json.loads(json.dumps(signed)), KEY.public) == body


@settings(deadline=None)
@given(bodies, st.text(max_size=4), json_values)
def test_any_change_of_the_body_is_found(body: dict[str, Any], name: str, value: Any) -> None:
    signed = sign(KEY, "update", {"x": 1})
    changed = {**signed, **{k: v for k, v in body.items()}, name: value}
    if changed != signed:
        with pytest.raises(SignatureError):
            verify("update", changed)


def test_a_signature_counts_for_its_own_kind_only() -> None:
    with pytest.raises(SignatureError, match="does not verify"):
        verify("ledger", sign(KEY, "update", {"x": 1}))


def test_another_signer_is_named() -> None:
    signed = sign(OTHER, "update", {"x": 1})
    assert verify("update", signed) == {"x": 1}
    with pytest.raises(SignatureError, match=OTHER.public[:16]):
        verify("update", signed, KEY.public)
    with pytest.raises(SignatureError, match="does not verify"):
        verify("update", {**signed, "signer": KEY.public}, KEY.public)


GOOD: dict[Any, Any] = sign(KEY, "update", {"x": 1})


@pytest.mark.parametrize(
    "malformed",
    [
        None, [], "text", 3, {}, {"signer": KEY.public}, {**GOOD, "signature": None},
        {**GOOD, "signature": GOOD["signature"].upper()}, {**GOOD, "signature": "0" * 127},
        {**GOOD, "signature": "g" * 128}, {**GOOD, "signature": GOOD["signature"] + "\n"},
        {**GOOD, "signature": ["0" * 128]}, {**GOOD, "signature": "٣" * 128},
        {**GOOD, "signer": 7}, {**GOOD, "signer": KEY.public[:-1]}, {**GOOD, "signer": "f" * 64},
        {**GOOD, "signer": b"x" * 64}, {**GOOD, "x": float("nan")}, {**GOOD, "x": object()},
        {**GOOD, 3: 4}, {**GOOD, "signature": "0" * 128},
    ],
)  # fmt: skip
def test_malformed_objects_are_refused_in_one_line(malformed: Any) -> None:
    with pytest.raises(SignatureError) as caught:
        verify("update", malformed, KEY.public)
    assert "\n" not in str(caught.value)
    with pytest.raises(SignatureError):
        verify("update", malformed)


def test_deep_nesting_is_refused_without_a_traceback() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(SignatureError, match="nested"):
        verify("update", {**GOOD, "x": deep})
    with pytest.raises(ProtocolError, match="nested"):
        sign(KEY, "update", {"x": deep})


def _edwards_y_of_small_order() -> set[int]:
    """y of the points P with 8P = 0 on -x^2 + y^2 = 1 + d x^2 y^2, from the curve equation."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p

    def roots(square: int) -> set[int]:
        root = pow(square, (p + 3) // 8, p)
        candidates = {root, root * pow(2, (p - 1) // 4, p) % p}
        return {r for c in candidates if c * c % p == square % p for r in (c, p - c)}

    # Order 8 doubles to y = 0, so y^2 + x^2 = 0, which gives d y^4 + 2 y^2 - 1 = 0.
    squares = {(-1 + r) * pow(d, -1, p) % p for r in roots(1 + d)}
    return {0, 1, p - 1} | {y for s in squares for y in roots(s)}


def test_keys_that_bind_nobody_are_refused() -> None:
    assert _edwards_y_of_small_order() == signing._SMALL_ORDER_Y
    identity = (1).to_bytes(32, "little").hex()
    forged: dict[str, Any] = {"x": 1, "signer": identity, "signature": identity + "0" * 64}
    message = signing._message("update", {"x": 1, "signer": identity})
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(identity)).verify(
        bytes.fromhex(forged["signature"]), message
    )  # the library accepts it, for this and every other message
    with pytest.raises(SignatureError, match="weak key"):
        verify("update", forged, identity)
    not_reduced = (2**255 - 18).to_bytes(32, "little").hex()
    with pytest.raises(SignatureError, match="weak key"):
        verify("update", {**forged, "signer": not_reduced})


@pytest.mark.parametrize("body", [{"signer": "x"}, {"signature": "x"}])
def test_a_signed_object_is_not_signed_again(body: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="already has"):
        sign(KEY, "update", body)


@pytest.mark.parametrize("value", [float("inf"), 2**53, 1e16, b"x", {1: 2}, "\ud800"])
def test_what_would_not_read_back_is_not_signed(value: Any) -> None:
    with pytest.raises(ProtocolError):
        sign(KEY, "update", {"x": value})


@pytest.mark.parametrize("kind", ["", "a/v1\nb", "Update", "1", "a b"])
def test_kinds_are_plain_words(kind: str) -> None:
    with pytest.raises(ProtocolError, match="kind"):
        sign(KEY, kind, {})
    with pytest.raises(SignatureError):
        verify(kind, GOOD)


def test_a_key_file_is_private_and_loads_again(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "member.pem"
    before = os.umask(0)
    try:
        key = generate_key(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["member.pem"]
    assert load_key(path).public == key.public
    assert verify("update", sign(load_key(path), "update", {"x": 1}), key.public) == {"x": 1}
    secret = key.private.private_bytes_raw().hex()
    assert secret not in repr(key) and key.public in repr(key)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "k.pem"
    generate_key(path)
    before = path.read_bytes()
    with pytest.raises(StorageError, match="never overwritten"):
        generate_key(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["k.pem"]


def test_a_passphrase_locks_the_file(tmp_path: Path) -> None:
    path = tmp_path / "k.pem"
    key = generate_key(path, "correct horse")
    assert load_key(path, "correct horse").public == key.public
    with pytest.raises(StorageError, match="is locked"):
        load_key(path)
    with pytest.raises(StorageError, match="check the passphrase"):
        load_key(path, "wrong")
    with pytest.raises(UsageError):
        generate_key(tmp_path / "l.pem", "")


def test_unusable_key_files_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "k.pem"
    with pytest.raises(StorageError, match="No such file"):
        load_key(path)
    generate_key(path)
    path.chmod(0o640)
    with pytest.raises(StorageError, match="mode 640"):
        load_key(path)
    path.chmod(0o600)
    with pytest.raises(StorageError, match="is not locked"):
        load_key(path, "x")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(StorageError, match="restore it"):
        load_key(path)
    path.write_bytes(
        generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(StorageError, match="not an Ed25519 key"):
        load_key(path)


def test_keys_differ(tmp_path: Path) -> None:
    keys: list[SigningKey] = [generate_key(tmp_path / name) for name in "ab"]
    assert keys[0].public != keys[1].public


def test_a_key_kept_elsewhere_is_led_to_and_not_copied(tmp_path: Path) -> None:
    key = generate_key(tmp_path / "own.pem")
    place = tmp_path / "run" / "key.pem"
    link_key(place, tmp_path / "own.pem")
    link_key(place, tmp_path / "own.pem")
    assert load_key(place) == key and place.is_symlink()
    other = generate_key(tmp_path / "other.pem")
    with pytest.raises(StorageError, match="another key"):
        link_key(place, tmp_path / "other.pem")
    assert load_key(place) == key != other
    (tmp_path / "own.pem").unlink()
    with pytest.raises(StorageError, match="check the path"):
        link_key(place, tmp_path / "own.pem")
