"""New tokens as text, while more of them come: whole characters, and nothing of a stop text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

BROKEN = "\ufffd"
"""How a tokenizer shows the first bytes of a character whose last ones are not written yet."""


def cut(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """The text before the first stop text, and whether there was one."""
    places = [at for mark in stop if (at := text.find(mark)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


def token_starts(tokenizer: Tokenizer, ids: Sequence[int]) -> list[int]:
    """At which character of the decoded text each token begins; with special tokens.

    A token in the middle of a character begins where the character does.
    """
    stream = DecodeStream(skip_special_tokens=False)
    starts, size = [], 0
    for token in ids:
        starts.append(size)
        size += len(stream.step(tokenizer, token) or "")
    return starts


class Growing:
    """A text that grows token by token.

    ids: the tokens so far; has_stopped: whether a stop text has come.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str]) -> None:
        self.ids: list[int] = []
        self.has_stopped = False
        self._decode, self._stop = decode, stop
        self._held = max((len(mark) for mark in stop), default=1) - 1
        self._told = ""

    def add(self, token: int) -> str:
        """The new text that no later token can change or turn into a stop text."""
        self.ids.append(token)
        whole = self._decode(self.ids).rstrip(BROKEN)
        text, self.has_stopped = cut(whole, self._stop)
        return self._tell(text if self.has_stopped else text[: max(0, len(text) - self._held)])

    def rest(self) -> str:
        """What is left when no token comes any more."""
        return self._tell(cut(self._decode(self.ids), self._stop)[0])

    def _tell(self, ready: str) -> str:
        if not ready.startswith(self._told):
            return ""
        new = ready[len(self._told) :]
        self._told = ready
        return new
