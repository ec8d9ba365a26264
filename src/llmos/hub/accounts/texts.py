"""What people write about themselves: plain text, not too long; codes and addresses that exist."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import urlsplit

from llmos.hub.errors import unprocessable

# ISO 3166-1 alpha-2, officially assigned.
_CODES = (
    "ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZCACCCD"
    "CFCGCHCICKCLCMCNCOCRCUCVCWCXCYCZDEDJDKDMDODZECEEEGEHERESETFIFJFKFMFOFRGAGBGDGEGF"
    "GGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHMHNHRHTHUIDIEILIMINIOIQIRISITJEJMJOJPKEKGKHKIKMKN"
    "KPKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKMLMMMNMOMPMQMRMSMTMUMVMWMXMYMZNA"
    "NCNENFNGNINLNONPNRNUNZOMPAPEPFPGPHPKPLPMPNPRPSPTPWPYQARERORSRURWSASBSCSDSESGSHSI"
    "SJSKSLSMSNSOSRSSSTSVSXSYSZTCTDTFTGTHTJTKTLTMTNTOTRTTTVTWTZUAUGUMUSUYUZVAVCVEVGVI"
    "VNVUWFWSYEYTZAZMZW"
)
COUNTRIES = frozenset(_CODES[at : at + 2] for at in range(0, len(_CODES), 2))
_LANGUAGE = re.compile(  # RFC 5646, without grandfathered and private tags
    r"[a-z]{2,3}(-[a-z]{3}){0,3}(-[a-z]{4})?(-([a-z]{2}|[0-9]{3}))?"
    r"(-([a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(-[a-wy-z0-9](-[a-z0-9]{2,8})+)*",
    re.IGNORECASE | re.ASCII,
)
_EMAIL = re.compile(r"[^\s@<>,;:\"()\[\]\\]{1,64}@[A-Za-z0-9\-]+(\.[A-Za-z0-9\-]+)+", re.ASCII)
# Marks that turn the direction of the text after them: they make a name read as another.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def line(text: str, what: str, most: int) -> str:
    """One line of at most `most` characters. Raises `HubError` 422."""
    return _checked(text.strip(), what, most, allowed="")


def paragraphs(text: str, what: str, most: int) -> str:
    """Text of several lines. Raises `HubError` 422."""
    return _checked(text.replace("\r\n", "\n").strip(), what, most, allowed="\n\t")


def _checked(text: str, what: str, most: int, allowed: str) -> str:
    text = unicodedata.normalize("NFC", text)
    if len(text) > most:
        raise unprocessable(f"{what}: at most {most} characters")
    for letter in text:
        odd = unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") and letter not in allowed
        if odd or letter in _TURNING:
            raise unprocessable(f"{what}: the character U+{ord(letter):04X} is not allowed")
    return text


def country(code: str) -> str:
    """An ISO 3166-1 code in capitals, or nothing. Raises `HubError` 422."""
    code = code.strip().upper()
    if code and code not in COUNTRIES:
        raise unprocessable(f"country {code[:20]!r}: give the ISO 3166-1 code, such as CN or DE")
    return code


def languages(tags: list[str]) -> list[str]:
    """BCP 47 tags, each once. Raises `HubError` 422."""
    if len(tags) > 100:
        raise unprocessable("languages: at most 100")
    for tag in tags:
        if len(tag) > 35 or not _LANGUAGE.fullmatch(tag):
            raise unprocessable(f"language {tag[:40]!r}: give a BCP 47 tag, such as zh-Hans or en")
    return list(dict.fromkeys(tags))


def website(address: str) -> str:
    """An http(s) address, or nothing. Raises `HubError` 422."""
    address = line(address, "website", 300)
    if not address:
        return ""
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or re.search(r"[\s<>\"'\\]", address):
        raise unprocessable("website: give an address that begins with https://")
    return address


def email(address: str) -> str:
    """An e-mail address, or nothing; it is shown to nobody else. Raises `HubError` 422."""
    address = line(address, "email", 200)
    if address and not _EMAIL.fullmatch(address):
        raise unprocessable("email: that is no e-mail address")
    return address
