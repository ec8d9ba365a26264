"""An engine over a model folder: transformers, one batch at a time. Simple, and right.

For commands and evaluation; the server's engine decodes many requests continuously.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import numpy.typing as npt

from llmos.models.engines import reading, writing
from llmos.models.engines.engine import Kind, Likelihood, Piece, Request
from llmos.models.engines.loading import load
from llmos.models.engines.spans import spans


class LocalEngine:
    """Answers with the model in a folder, or in that of a run. See `engine.Engine`.

    Raises `ModelError` where the folder does not hold a whole model. One call computes at a time;
    a stream that is open holds the others up, and must be read or closed by the thread that opened
    it.
    """

    def __init__(self, folder: Path | str) -> None:
        self._loaded = load(Path(folder))
        self._lock = RLock()
        self.folder: Path = self._loaded.folder
        self.name: str = str(folder)
        self.kind: Kind = self._loaded.kind
        self.context_length: int = self._loaded.context_length

    def stream(self, request: Request) -> Iterator[Piece]:
        with self._lock:
            yield from writing.stream(self._loaded, request)

    def write(self, requests: Sequence[Request]) -> list[Piece]:
        with self._lock:
            return writing.write(self._loaded, requests)

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        with self._lock:
            return reading.likelihoods(self._loaded, pairs)

    def classify(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        with self._lock:
            return reading.classify(self._loaded, texts)

    @property
    def labels(self) -> tuple[str, ...]:
        if self._loaded.head != "classification":
            return ()
        names: dict[Any, str] = self._loaded.config.id2label or {}
        return tuple(names[number] for number in sorted(names))

    def spans(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[int, int, float]]:
        with self._lock:
            return spans(self._loaded, pairs)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        with self._lock:
            return reading.embed(self._loaded, texts)

    def count_tokens(self, text: str) -> int:
        return len(self._loaded.words.encode(text))
