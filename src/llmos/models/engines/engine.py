"""What an engine is: it answers requests to one model. Tasks, evaluation, server see no more.

An engine runs a model in this process (transformers, CTranslate2, llama.cpp) or speaks to one
behind a URL. What it cannot do it says by `UnsupportedError`, so that a caller can do without.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from llmos.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Kind = Literal["decoder", "encoder", "encoder-decoder"]
Message = Mapping[str, str]
"""The role (system, user or assistant) and the content."""


class UnsupportedError(ModelError):
    """This engine, or this model, cannot do what was asked."""


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How a text is written; greedy by default. Names as in OpenAI's API where it has them."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    """0: all tokens."""
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    num_beams: int = 1
    stop: tuple[str, ...] = ()
    """Texts at which writing ends; they are not part of it."""
    seed: int | None = None
    logprobs: int | None = None
    """How many of the likeliest tokens to tell at each place; None: none, nor the token's own."""
    json_schema: Mapping[str, Any] | None = None
    watermark: bool = False


@dataclass(frozen=True, kw_only=True)
class Request:
    """One text to be written: a prompt (text or tokens) to continue, or messages to answer.

    For an encoder-decoder `prompt` is the source.
    """

    prompt: str | tuple[int, ...] = ""
    messages: tuple[Message, ...] = ()
    decoding: Decoding = field(default_factory=Decoding)


@dataclass(frozen=True)
class TokenLogprob:
    """A token that was written, its log-probability (nats), and the likeliest in its place."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Piece:
    """Some new text of a request. The last one says why it ended and how many tokens it took."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: Literal["", "stop", "length"] = ""
    prompt_tokens: int = 0
    new_tokens: int = 0


@dataclass(frozen=True)
class Likelihood:
    """How likely a continuation is: its log-probability in nats, its tokens, whether greedy."""

    logprob: float
    tokens: int
    is_greedy: bool


class Engine(Protocol):
    """One model that answers. Methods may be called from several threads at once."""

    name: str
    kind: Kind
    context_length: int

    def stream(self, request: Request) -> Iterator[Piece]:
        """The text of one request, as it is written. Closing the iterator ends the writing."""
        ...

    def write(self, requests: Sequence[Request]) -> list[Piece]:
        """The texts of many requests at once, in their order; each as it would be alone."""
        ...

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        """How likely each (context, continuation) is. Raises `UnsupportedError` without logits."""
        ...

    def classify(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Probabilities of the labels: (texts, labels). Needs a model with such a head."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that `classify` tells apart; () without such a head."""
        ...

    def spans(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[int, int, float]]:
        """For each (question, context): where the answer begins and ends in the context, and how
        likely it is; (0, 0, p) for no answer. Needs a model with such a head."""
        ...

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """A vector of length 1 for each text: (texts, width)."""
        ...

    def count_tokens(self, text: str) -> int:
        """How many tokens a text has, without special tokens."""
        ...
