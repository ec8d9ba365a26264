"""How many tokens the text has, where a tokenizer is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmos.errors import DataError

BATCH_BYTES = 1 << 20


class TokenCounter:
    """Counts the tokens of texts, a batch at a time; with the path "" it counts none.

    `path` is a tokenizer.json, or a folder with one. Raises `DataError` where there is none.
    """

    def __init__(self, path: str) -> None:
        self._tokenizer = open_tokenizer(Path(path)) if path else None
        self._held: list[str] = []
        self._bytes = 0
        self._total = 0

    def add(self, text: str) -> None:
        """Count a text."""
        if self._tokenizer is None:
            return
        self._held.append(text)
        self._bytes += len(text)
        if self._bytes >= BATCH_BYTES:
            self._count()

    def total(self) -> int:
        """Tokens of all texts so far, without separators."""
        self._count()
        return self._total

    def _count(self) -> None:
        if self._held and self._tokenizer is not None:
            found = self._tokenizer.encode_batch_fast(self._held, add_special_tokens=False)
            self._total += sum(len(encoding) for encoding in found)
        self._held, self._bytes = [], 0


def open_tokenizer(path: Path) -> Any:
    """The tokenizer of a tokenizer.json or its folder; special tokens in text are text to it."""
    from tokenizers import Tokenizer

    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises no narrower class
        raise DataError(
            f"{file} is not a tokenizer ({str(error)[:80]}): name a tokenizer.json, such as "
            "`llmos tokenizer train` writes"
        ) from error
    tokenizer.encode_special_tokens = True
    return tokenizer
