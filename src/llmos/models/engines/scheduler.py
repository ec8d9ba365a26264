"""Continuous batching: one thread writes many texts at once, a token of each at a step.

A text begins as soon as a slot is free and leaves it at its end, whatever the others do (Yu et al.
2022, Orca, OSDI). Nobody waits for a batch to fill or to be finished.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Condition, Thread

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from llmos.errors import ModelError
from llmos.models.engines.adapters import Adapter
from llmos.models.engines.engine import Decoding, Piece, TokenLogprob
from llmos.models.engines.reading import token_logprob
from llmos.models.engines.sampling import Sampler, choose
from llmos.models.engines.slots import CHUNK, Slots
from llmos.models.engines.texts import until_stop

READ_AT_ONCE = 256
"""Tokens of new prompts that are let in before running texts get their next token."""

log = logging.getLogger(__name__)


class BusyError(ModelError):
    """As many texts wait as may."""


class ClosedError(ModelError):
    """The engine has been shut down."""


Deliver = Callable[[Piece | ModelError], None]
"""Gets the pieces of a text, in the thread of the scheduler: it must return at once."""


@dataclass(eq=False)
class Text:
    """A text that waits or is written. `cancel` ends it at the next step."""

    prompt: Sequence[int]
    limit: int
    sampler: Sampler
    deliver: Deliver
    adapter: Adapter | None = None
    is_cancelled: bool = False
    decoder: DecodeStream = field(default_factory=lambda: DecodeStream(skip_special_tokens=True))
    told: int = 0  # characters that were delivered
    held: str = ""  # characters that may be the beginning of a stop text
    logprobs: list[tuple[int, TokenLogprob]] = field(default_factory=list)

    @property
    def decoding(self) -> Decoding:
        return self.sampler.decoding

    def cancel(self) -> None:
        self.is_cancelled = True


class Scheduler:
    """Writes texts until it is closed. `ends`: the tokens that end a text."""

    def __init__(
        self, slots: Slots, tokenizer: Tokenizer, ends: frozenset[int], *, waiting: int = 1024
    ) -> None:
        self._slots, self._tokenizer, self._ends = slots, tokenizer, ends
        self._most_waiting = waiting
        self._waiting: deque[Text] = deque()
        self._running: dict[int, Text] = {}
        self._change = Condition()
        self._is_closed = False
        self._thread = Thread(target=self._work, name="llmos-scheduler", daemon=True)
        self._thread.start()

    @property
    def running(self) -> int:
        """How many texts are being written."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many texts wait for a slot."""
        return len(self._waiting)

    def submit(self, text: Text) -> None:
        """Have `text` written. Raises `BusyError` where too many wait, `ClosedError` at the end."""
        with self._change:
            if self._is_closed:
                raise ClosedError("the server shuts down: try again later")
            if len(self._waiting) >= self._most_waiting:
                raise BusyError(f"{len(self._waiting)} texts wait already: try again later")
            self._waiting.append(text)
            self._change.notify()

    def close(self) -> None:
        """End it; texts that are not finished get a `ClosedError`."""
        with self._change:
            self._is_closed = True
            self._change.notify()
        self._thread.join()

    def _work(self) -> None:
        tokens: dict[int, int] = {}
        while True:
            with self._change:
                while not (self._waiting or self._running or self._is_closed):
                    self._change.wait()
                if self._is_closed:
                    break
                self._admit()
            for key in [k for k, text in self._running.items() if text.is_cancelled]:
                tokens.pop(key, None)
                self._free(key)
            try:
                tokens = self._step(tokens)
            except Exception as error:  # the server must live, whatever went wrong
                log.exception("a step failed")
                tokens = {}
                self._fail(ModelError(f"writing failed: {error}"))
        self._fail(ClosedError("the server shuts down: try again later"))

    def _admit(self) -> None:
        room = READ_AT_ONCE
        while self._waiting and len(self._running) < self._slots.size and room > 0:
            text = self._waiting.popleft()
            if not text.is_cancelled:
                room -= min(CHUNK, len(text.prompt))
                self._running[self._slots.begin(text.prompt, text.adapter)] = text

    @torch.inference_mode()
    def _step(self, tokens: dict[int, int]) -> dict[int, int]:
        """One token for each running text; the tokens of those that go on, by slot."""
        keys, logits = self._slots.step(tokens)
        if not keys:
            return {}
        texts = [self._running[key] for key in keys]
        likely = {
            row: logits[row].log_softmax(-1)
            for row, text in enumerate(texts)
            if text.decoding.logprobs is not None
        }
        chosen = choose(logits, [text.sampler for text in texts])
        going: dict[int, int] = {}
        told: list[tuple[Text, Piece]] = []
        for row, (key, text, token) in enumerate(zip(keys, texts, chosen, strict=True)):
            piece = self._taken(text, token, likely.get(row))
            if not piece.finish:
                going[key] = token
            if piece.finish:  # before its reader is told, who may look
                self._free(key)
            if piece.finish or piece.text or piece.logprobs:
                told.append((text, piece))
        for text, piece in told:  # all together: each wakes another thread
            text.deliver(piece)
        return going

    def _taken(self, text: Text, token: int, likely: torch.Tensor | None) -> Piece:
        """What the reader of a text gets for its newest token."""
        text.sampler.take(token)
        new = text.sampler.new
        is_end = token in self._ends
        is_last = is_end or len(new) == text.limit
        if not is_end:
            if likely is not None:
                place = text.told + len(text.held)
                text.logprobs.append((place, self._logprob(text, token, likely)))
            text.held += text.decoder.step(self._tokenizer, token) or ""
        if is_last:  # the bytes of a character that was not finished
            whole = self._tokenizer.decode(new, skip_special_tokens=True)
            text.held += whole[text.told + len(text.held) :]
        ready, is_cut = until_stop(text.held, text.decoding.stop, is_last)
        text.told += len(ready)
        text.held = text.held[len(ready) :]
        logprobs: tuple[TokenLogprob, ...] = ()
        if text.logprobs:
            is_all = is_last and not is_cut
            logprobs = tuple(p for at, p in text.logprobs if at < text.told or is_all)
            text.logprobs = text.logprobs[len(logprobs) :]
        if not (is_last or is_cut):
            return Piece(ready, logprobs)
        finish = "stop" if is_end or is_cut else "length"
        return Piece(ready, logprobs, finish, len(text.prompt), len(new))  # type: ignore[arg-type]

    def _logprob(self, text: Text, token: int, likely: torch.Tensor) -> TokenLogprob:
        """The model's own: before temperature, penalties and the like. `likely`: (V,)."""
        return token_logprob(self._tokenizer, likely, token, text.decoding.logprobs or 0)

    def _free(self, key: int) -> None:
        del self._running[key]
        self._slots.free(key)

    def _fail(self, error: ModelError) -> None:
        """All that run, and at the end those that wait, are told that nothing comes of it."""
        ended = list(self._running.values())
        for key in list(self._running):
            self._free(key)
        if self._is_closed:
            with self._change:
                ended += self._waiting
                self._waiting.clear()
        for text in ended:
            text.deliver(error)
