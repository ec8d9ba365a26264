"""An engine whose answers a test writes down, and whose tokens are words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from llmos.models.engines.engine import (
    Kind,
    Likelihood,
    Piece,
    Request,
    TokenLogprob,
    UnsupportedError,
)


@dataclass
class Scripted:
    """Answers with `reply(what the model was asked)`; keeps each call's requests in `calls`."""

    reply: Callable[[str], str] = lambda text: text
    kind: Kind = "decoder"
    context_length: int = 1000
    can_chat: bool = True
    has_logprobs: bool = True
    labels: tuple[str, ...] = ()
    name: str = "scripted"
    calls: list[list[Request]] = field(default_factory=list)
    folder: Any = None

    def _one(self, request: Request) -> Piece:
        if request.messages and not self.can_chat:
            raise UnsupportedError("no chats")
        if request.decoding.logprobs is not None and not self.has_logprobs:
            raise UnsupportedError("no log-probabilities")
        asked = request.messages[-1]["content"] if request.messages else str(request.prompt)
        size = self.count_tokens(asked)
        assert size + request.decoding.max_new_tokens <= self.context_length or (
            self.kind != "decoder"
        ), "the request does not fit"
        text = self.reply(asked)
        logprobs: tuple[TokenLogprob, ...] = ()
        if request.decoding.logprobs is not None:
            logprobs = (TokenLogprob(text, -0.5), TokenLogprob("", -0.5))
        return Piece(text, logprobs, "stop", size, self.count_tokens(text))

    def write(self, requests: Sequence[Request]) -> list[Piece]:
        found = [self._one(request) for request in requests]
        self.calls.append(list(requests))
        return found

    def stream(self, request: Request) -> Iterator[Piece]:
        whole = self._one(request)
        self.calls.append([request])
        for character in whole.text:
            yield Piece(character)
        yield Piece("", (), whole.finish, whole.prompt_tokens, whole.new_tokens)

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        if not self.has_logprobs:
            raise UnsupportedError("no log-probabilities")
        wanted = self.reply(pairs[0][0])
        return [Likelihood(0.0 if wanted in text else -2.0, 1, False) for _, text in pairs]

    def classify(self, texts: Sequence[str]) -> Any:
        good = np.array([("good" in text) * 0.8 + 0.1 for text in texts])
        return np.stack([1 - good, good], axis=1)

    def spans(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[int, int, float]]:
        found = []
        for question, context in pairs:
            at = context.find(question)
            found.append((at, at + len(question), 0.7) if at >= 0 else (0, 0, 0.9))
        return found

    def embed(self, texts: Sequence[str]) -> Any:
        raise UnsupportedError("no vectors")

    def count_tokens(self, text: str) -> int:
        return len(re.findall(r"\w+|[^\w\s]", text))


@pytest.fixture
def scripted() -> type[Scripted]:
    return Scripted
