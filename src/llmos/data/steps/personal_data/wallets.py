"""Addresses and private keys of crypto-currencies, each by the checksum that it carries."""

from __future__ import annotations

import hashlib
import re

from llmos.data.steps.personal_data.keccak import keccak_256
from llmos.data.steps.personal_data.patterns import Bounds, Finders, Pattern
from llmos.data.steps.personal_data.view import View

_BASE58 = {c: n for n, c in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")}
_BECH32 = {c: n for n, c in enumerate("qpzry9x8gf2tvdw0s3jn54khce6mua7l")}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKS = {1: "bech32", 0x2BC830A3: "bech32m"}


def is_base58check(address: str) -> bool:
    """Bitcoin's Base58Check: four bytes of a double SHA-256 behind a version and its payload.

    The payload is an address (20 bytes) or a private key (32 bytes, 33 with a mark). What hashes
    to the right four bytes by chance is one in 4 billion, so any version will do: Bitcoin,
    Litecoin, Dogecoin, Tron and more.
    """
    number = 0
    for character in address:
        if character not in _BASE58:
            return False
        number = number * 58 + _BASE58[character]
    zeros = len(address) - len(address.lstrip("1"))
    raw = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(raw) - 4 not in (21, 33, 34):
        return False
    return hashlib.sha256(hashlib.sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]


def is_segwit(address: str) -> bool:
    """BIP 173 and BIP 350: Bech32 for version 0, Bech32m for later ones."""
    if address != address.lower() and address != address.upper():
        return False
    prefix, _, data = address.lower().rpartition("1")
    if len(data) < 14 or any(c not in _BECH32 for c in data):
        return False
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    check = 1
    for value in values + [_BECH32[c] for c in data]:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            check ^= generator if top >> bit & 1 else 0
    return _CHECKS.get(check) == ("bech32m" if _BECH32[data[0]] else "bech32")


def is_ethereum(address: str) -> bool:
    """EIP-55: capitals show the digest of the small form; in one case there is no checksum."""
    digits = address[2:]
    if digits in (digits.lower(), digits.upper()):
        return len(set(digits)) > 4  # neither 0x000... nor 0xfff...
    digest = keccak_256(digits.lower().encode()).hex()
    return all(
        not c.isalpha() or c.isupper() == (int(h, 16) > 7)
        for c, h in zip(digits, digest, strict=False)
    )


def _base58(view: View, match: re.Match[str]) -> Bounds | None:
    return match.span() if is_base58check(match[0]) else None


def _segwit(view: View, match: re.Match[str]) -> Bounds | None:
    return match.span() if is_segwit(match[0]) else None


def _ethereum(view: View, match: re.Match[str]) -> Bounds | None:
    return match.span() if is_ethereum(match[0]) else None


CRYPTO_WALLET: Finders = {
    "tokens": (
        # 25 to 52 characters; the first is one that some coin's addresses or private keys have
        Pattern(
            re.compile(r"[1359ADKLMTX](?<!\w[1359ADKLMTX])[1-9A-HJ-NP-Za-km-z]{24,51}+(?!\w)"),
            _base58,
        ),
        Pattern(
            re.compile(r"(?<!\w)(?:bc|tb|ltc)1[02-9ac-hj-np-z]{14,74}(?!\w)"),
            _segwit,
            ("bc1", "tb1", "ltc1"),
        ),
        Pattern(
            re.compile(r"(?<!\w)(?:BC|TB|LTC)1[02-9AC-HJ-NP-Z]{14,74}(?!\w)"),
            _segwit,
            ("BC1", "TB1", "LTC1"),
        ),
        Pattern(re.compile(r"0x(?<!\w0x)[0-9A-Fa-f]{40}(?!\w)"), _ethereum, ("0x",)),
    )
}
