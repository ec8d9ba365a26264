"""The engine of an adapter, over the engine of the model that it was trained over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from llmos.models.engines.engine import Kind, Piece, Request, UnsupportedError
from llmos.models.engines.scheduler import Deliver, Text
from llmos.models.engines.submitting import streamed, written
from llmos.models.engines.transformers_engine import TransformersEngine


class AdaptedEngine:
    """The model that an adapter makes of the one that `base` serves. See `engine.Engine`.

    It writes in the steps of its `base`. What is read rather than written needs the merged model.
    """

    def __init__(self, base: TransformersEngine, folder: Path | str) -> None:
        self.base, self.name = base, str(folder)
        self._adapter = base.adapter(Path(folder))
        self.kind: Kind = base.kind
        self.context_length = base.context_length
        self.labels: tuple[str, ...] = ()

    def submit(self, request: Request, deliver: Deliver) -> Text:
        return self.base.submit(request, deliver, self._adapter)

    def stream(self, request: Request) -> Iterator[Piece]:
        yield from streamed(self.submit, request)

    def write(self, requests: Sequence[Request]) -> list[Piece]:
        return written(self.submit, requests)

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> NoReturn:
        self._refuse()

    def classify(self, texts: Sequence[str]) -> NoReturn:
        self._refuse()

    def spans(self, pairs: Sequence[tuple[str, str]]) -> NoReturn:
        self._refuse()

    def embed(self, texts: Sequence[str]) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise UnsupportedError(f"{self.name} is an adapter, which writes: merge it to do this")

    def count_tokens(self, text: str) -> int:
        return self.base.count_tokens(text)
