"""A member's file of protected patterns, one on each line.

| line        | matches                                                                       |
|-------------|-------------------------------------------------------------------------------|
| Project Owl | this text anywhere, in capitals or not, however many blanks or line ends lie   |
|             | between its words                                                             |
| /expr/      | a regular expression of RE2; ^ and $ are the ends of lines; \\w, \\d and \\s    |
|             | mean any script                                                               |
| /expr/iw    | i: in capitals or not; w: only where no letter or digit comes before or after  |
| # comment   | nothing                                                                       |
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from llmos.data.protection.unicode_classes import SPACE, WORD, for_any_script
from llmos.errors import DataError
from llmos.storage import sha256_hex

MEMORY = 64 << 20
"""Bytes that RE2 may take for all patterns together; with less it is slower, never wrong."""
LONGEST = 1000
"""Characters of a line: one of any length might need more than `MEMORY`."""
_EXPRESSION = re.compile(r"/(.+)/([a-z]*)")


@dataclass(frozen=True)
class Patterns:
    """The patterns of a file by the number of their line, as RE2 writes them."""

    expressions: dict[int, str]
    sha256: str
    """Of the file. Who guesses a short file can tell by it that the guess was right."""

    @classmethod
    def load(cls, path: Path) -> Patterns:
        """Read a file. Raises `DataError` naming the line that is no pattern, but not its text."""
        try:
            data = path.read_bytes()
            lines = data.decode("utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{path} cannot be read ({error}): name a UTF-8 file with a pattern on each line"
            ) from error
        expressions = {}
        for number, line in enumerate(lines, start=1):
            text = unicodedata.normalize("NFC", line.strip())
            if not text or text.startswith("#"):
                continue
            try:
                expressions[number] = _expression(text)
            except ValueError as error:
                raise DataError(f"{path} line {number} is no pattern: {error}") from error
        if not expressions:
            raise DataError(f"{path} holds no pattern: write one on each line, or leave it out")
        return cls(expressions, sha256_hex(data))

    def lines(self, *texts: str) -> list[int]:
        """The lines of the patterns that match in any of `texts`."""
        raw = [text.encode("utf-8", "replace") for text in texts if text]
        if not any(some.search(text) for some in self._together for text in raw):
            return []
        return [n for n, pattern in self._each.items() if any(map(pattern.search, raw))]

    @cached_property
    def _together(self) -> list[Any]:
        """All patterns as few expressions, for texts in which there is none: nearly all texts."""
        return _together(list(self.expressions.values()))

    @cached_property
    def _each(self) -> dict[int, Any]:
        return {number: _compiled(e) for number, e in self.expressions.items()}


def _together(expressions: list[str]) -> list[Any]:
    """The expressions joined, in halves where they are too many for `MEMORY`."""
    import re2  # type: ignore[import-untyped]

    try:
        return [_compiled("|".join(f"(?:{expression})" for expression in expressions))]
    except re2.error:
        half = len(expressions) // 2
        return _together(expressions[:half]) + _together(expressions[half:])


def _compiled(expression: str) -> Any:
    import re2

    options = re2.Options()
    options.max_mem = MEMORY
    options.log_errors = False
    return re2.compile(expression.encode(), options)


def _expression(line: str) -> str:
    """A line as RE2 writes it. Raises `ValueError` for one that is in no order."""
    import re2

    if len(line) > LONGEST:
        raise ValueError(f"it has {len(line)} characters, of {LONGEST} at most: use a part of it")
    given = _EXPRESSION.fullmatch(line)
    if given is None:
        words = (re2.escape(word) for word in line.split())
        return f"(?i:{f'[{SPACE}]+'.join(words)})"
    body, flags = given.groups()
    if wrong := set(flags) - {"i", "w"}:
        raise ValueError(f"the flag {min(wrong)} is unknown: there are i and w")
    if "(?P<" in body or "(?<" in body:
        raise ValueError("groups with names, and looking back, are not known: write (...)")
    body = f"(?m{'i' if 'i' in flags else ''}:{for_any_script(body)})"
    if "w" in flags:
        body = rf"(?:\A|[^{WORD}]){body}(?:\z|[^{WORD}])"
    try:
        compiled = _compiled(body)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        text = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"RE2 says: {text} (it knows no \\1 and no looking ahead)") from error
    if compiled.search(b""):
        raise ValueError("it matches an empty text, so every document: make it more particular")
    return body
