"""Texts that are given to a command: in a file, on standard input, or as an argument."""

from __future__ import annotations

import sys
from pathlib import Path

from llmos.errors import UsageError

ENCODING = "utf-8-sig"
"""UTF-8, without the mark that some editors begin a file with."""


def read_text(path: Path) -> str:
    """The text of a file. Raises `UsageError`."""
    try:
        return _decoded(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): give a text file") from error


def read_stdin() -> str:
    """All of standard input, whatever the terminal's encoding. Raises `UsageError`."""
    return _decoded(sys.stdin.buffer.read(), "standard input")


def read_line() -> str:
    """The next line of standard input; "" for an empty one and at the end."""
    return _decoded(sys.stdin.buffer.readline(), "standard input").rstrip("\r\n")


def whole(text: str, name: str) -> str:
    """An argument. Raises `UsageError` where its bytes are not UTF-8, which Python lets through."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{name} is not UTF-8: give it as UTF-8") from error
    return text


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode(ENCODING)
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
