"""New tokens as text, while more of them come: whole characters, and nothing of a stop text."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream


def cut(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """The text before the first stop text, and whether there was one."""
    places = [at for mark in stop if (at := text.find(mark)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


def until_stop(text: str, stops: Sequence[str], is_last: bool) -> tuple[str, bool]:
    """What of `text` may be told, and whether a stop text ended it.

    What may yet turn out to be the beginning of a stop text is held back.
    """
    places = [at for stop in stops if (at := text.find(stop)) >= 0]
    if places:
        return text[: min(places)], True
    if is_last or not text:
        return text, False
    sizes = (
        size
        for stop in stops
        for size in range(min(len(stop) - 1, len(text)), 0, -1)
        if text.endswith(stop[:size])
    )
    return text[: len(text) - max(sizes, default=0)], False


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
    """A text that grows token by token, each in a time that does not depend on the text's length.

    ids: the tokens so far; has_stopped: whether a stop text has come.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self.ids: list[int] = []
        self.has_stopped = False
        self._tokenizer, self._stop = tokenizer, stop
        self._stream = DecodeStream(skip_special_tokens=True)
        self._told = 0  # characters
        self._held = ""  # characters that may be the beginning of a stop text

    def add(self, token: int) -> str:
        """The new text that no later token can change or turn into a stop text."""
        self.ids.append(token)
        self._held += self._stream.step(self._tokenizer, token) or ""
        return self._tell(is_last=False)

    def rest(self) -> str:
        """What is left when no token comes any more."""
        if self.has_stopped:
            return ""
        # With the bytes of a character that was not finished.
        whole = self._tokenizer.decode(self.ids, skip_special_tokens=True)
        self._held += whole[self._told + len(self._held) :]
        return self._tell(is_last=True)

    def _tell(self, *, is_last: bool) -> str:
        if self.has_stopped:
            return ""
        ready, self.has_stopped = until_stop(self._held, self._stop, is_last)
        self._told += len(ready)
        self._held = self._held[len(ready) :]
        return ready
