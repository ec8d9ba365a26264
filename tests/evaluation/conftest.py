"""An engine that answers by a function, and data of four items."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from llmos.models.engines.engine import Kind, Likelihood, Piece, Request, UnsupportedError
from llmos.provenance.signing import SigningKey, generate_key


@dataclass
class Answering:
    """Writes `reply(what it was asked)`; likelihoods are `logprob(context, continuation)`."""

    reply: Callable[[str], str] = lambda text: ""
    logprob: Callable[[str, str], float] | None = None
    kind: Kind = "decoder"
    context_length: int = 64
    can_prompt: bool = True
    name: str = "answering"
    labels: tuple[str, ...] = ()
    folder: Any = None
    asked: list[str] = field(default_factory=list)

    def write(self, requests: Sequence[Request]) -> list[Piece]:
        if not self.can_prompt and not all(one.messages for one in requests):
            raise UnsupportedError("chats only")
        texts = [r.messages[-1]["content"] if r.messages else str(r.prompt) for r in requests]
        self.asked += texts
        return [Piece(self.reply(text), finish="stop") for text in texts]

    def stream(self, request: Request) -> Iterator[Piece]:
        yield from self.write([request])

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        if self.logprob is None:
            raise UnsupportedError("no log-probabilities")
        return [Likelihood(self.logprob(c, t), self.count_tokens(t), False) for c, t in pairs]

    def count_tokens(self, text: str) -> int:
        return len(text.split())


@pytest.fixture
def answering() -> type[Answering]:
    return Answering


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return generate_key(tmp_path / "key.pem")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Questions with choices in `data/questions.jsonl`."""
    folder = tmp_path / "data"
    folder.mkdir()
    records = [
        {"q": f"What is {a} plus {b}?", "answer": str(a + b), "wrong": [str(a + b + 1), "no idea"]}
        for a, b in ((1, 2), (2, 2), (10, 5), (7, 1))
    ]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "questions.jsonl").write_text(lines)
    return folder


@pytest.fixture
def sums() -> dict[str, Any]:
    """A suite over `data`, as YAML gives it."""
    source = {"path": "questions.jsonl", "format": "jsonl"}
    return {
        "name": "sums",
        "benchmarks": [
            {
                "name": "choose",
                "task": "choice",
                "data": source,
                "inputs": {"context": "{q}"},
                "choices": ["{answer}", "{wrong}"],
                "references": "{answer}",
                "metrics": ["accuracy"],
            },
            {
                "name": "say",
                "task": "completion",
                "data": source,
                "inputs": {"prompt": "{q}\nAnswer:"},
                "references": "{answer}",
                "extract": r"\d+",
                "metrics": ["accuracy", "f1"],
            },
        ],
    }
