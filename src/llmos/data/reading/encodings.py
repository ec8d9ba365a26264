"""Bytes to text, whatever their encoding: measured by benchmarks/encodings.py.

In this order: byte order marks, UTF-16 by its NUL bytes, the escapes of ISO-2022 and HZ, UTF-8
where the bytes are valid (or nearly so), and for all other encodings Firefox's detector chardetng
(https://hsivonen.fi/chardetng/). Names mean what WHATWG's Encoding Standard takes them for: a text
in ISO-8859-1 is read as windows-1252.
"""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

from llmos.data.reading.parts import UnreadableError

NOT_TEXT = "not text: it holds NUL bytes"
REPLACED = "some bytes stand for no character: they were replaced by U+FFFD"
SAMPLE = 1 << 16
"""bytes of lines with other letters than ASCII's that the detector is given; it reads 11 MB/s."""
DAMAGED = 0.25
"""UTF-8 may have so many invalid sequences for each valid one; in other encodings most are."""
HAN = 0.1
"""So many bytes of a text in HZ are of Chinese characters, or it is some other text with tildes."""

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before that of UTF-16, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
WIDE = ("utf-16", "utf-16-le", "utf-16-be", "utf-32")
"""Encodings in which the byte 0x0A is not always a line end."""
_ESCAPES = ((b"\x1b$)C", "iso2022_kr"), (b"\x1b$", "iso2022_jp_2"))
_HZ = re.compile(rb"~\{(?:[!-w][!-~])+~\}")  # RFC 1843
_CODECS = {
    "big5": "big5hkscs",
    "euc-kr": "cp949",
    "gbk": "gb18030",
    "iso-8859-1": "cp1252",
    "iso-8859-8-i": "iso8859-8",
    "iso-8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "shift_jis": "cp932",
    "us-ascii": "cp1252",
    "windows-874": "cp874",
}
"""Python's codecs for names of WHATWG's that it reads otherwise, or not at all."""


class Decoded(NamedTuple):
    """A text, and whether it has bytes that stood for no character."""

    text: str
    replaced: bool


def decode(data: bytes, declared: str = "") -> Decoded:
    """The text of a whole file; `declared` is the encoding that it says it has, if it does.

    Raises `UnreadableError` for what is not text.
    """
    encoding = encoding_of(data, declared)
    if encoding == "utf-8":
        data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return Decoded(data.decode(encoding), False)
    except UnicodeDecodeError:
        return Decoded(data.decode(encoding, "replace"), True)


def encoding_of(data: bytes, declared: str = "") -> str:
    """Python's name of the encoding of a text, or of one that begins with `data`.

    Raises `UnreadableError` for what is not text.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    if b"\0" in data:
        return _utf16(data)
    for escape, encoding in _ESCAPES:
        if escape in data and _fits(data, encoding):
            return encoding
    if data.isascii():
        han = sum(len(match[0]) - 4 for match in _HZ.finditer(data))
        return "hz" if han > HAN * len(data) and _fits(data, "hz") else "utf-8"
    if _nearly_utf8(data):
        return "utf-8"
    named = codec(declared)
    if named and named not in ("utf-8", *WIDE) and _fits(data, named):
        return named
    return _guessed(data)


def codec(name: str) -> str:
    """Python's codec for an encoding's name on the web; "" where it is none of text."""
    name = name.strip().strip("\"'").lower()
    name = _CODECS.get(name, name)
    try:
        found = codecs.lookup(name)
        b"0000".decode(name)  # refuses codecs that are not of text, such as hex
    except (LookupError, ValueError):
        return ""
    return _CODECS.get(found.name.replace("iso8859", "iso-8859"), found.name)


def _fits(data: bytes, encoding: str) -> bool:
    """Whether the bytes are valid; the last character may be cut."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(data)
    except (UnicodeDecodeError, UnicodeError):
        return False
    return True


def _utf16(data: bytes) -> str:
    """UTF-16 without a mark: most characters are below 256, so one byte of two is NUL."""
    pairs = len(data) // 2
    for encoding, high in (("utf-16-le", data[1::2]), ("utf-16-be", data[::2])):
        zeros = high.count(0)
        if pairs >= 8 and zeros > 0.5 * pairs and zeros == data.count(0) and _fits(data, encoding):
            return encoding
    raise UnreadableError(NOT_TEXT)


def _nearly_utf8(data: bytes) -> bool:
    """Whether most of the sequences that are not ASCII are valid, a cut one at the end aside."""
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(data)
    invalid = text.count("\ufffd")
    others = len(text) - len(text.encode("ascii", "ignore"))
    return others > 0 and invalid <= DAMAGED * (others - invalid)


def _guessed(data: bytes) -> str:
    import chardetng_py  # type: ignore[import-untyped]

    lines = [line for line in data.split(b"\n") if not line.isascii()]
    sample = b"\n".join(lines)[:SAMPLE]
    return codec(chardetng_py.detect(sample, allow_utf8=False)) or "cp1252"
