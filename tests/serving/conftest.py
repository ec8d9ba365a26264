"""Small models of every kind, as folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from llmos.models.engines.transformers_engine import TransformersEngine
from llmos.models.families import build_model
from llmos.models.pieces import count_pieces
from llmos.models.publish import longest_text
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.recipe import Recipe

torch.set_num_threads(1)  # over models this small, threads only wait for one another

TEXT = ["the tree and the house stood in a street", "水 and bread 面包", '{"name": "x", "n": 12}']
HEADS = {"gpt2": "causal_lm", "llama": "causal_lm", "t5": "seq2seq", "bert": "masked_lm"}
CONTEXT = 128


def write_model(folder: Path, family: str, objective: str = "") -> Path:
    """A model folder with weights far from even, so that a mistake shows."""
    recipe = Recipe(name="t").with_values(
        {
            "model.family": family,
            "model.num_layers": 2,
            "model.num_heads": 2,
            "model.hidden_size": 32,
            "model.context_length": CONTEXT,
            "tokenizer.vocabulary_size": 380 if family == "t5" else 290,
            "tokenizer.threshold": 0,
            "training.sequence_length": 48,
            "objective.name": objective or HEADS[family],
        }
    )
    words = Vocabulary.of(train_tokenizer(count_pieces(TEXT * 9), recipe))
    model = build_model(recipe.model, words, seed=5, head=HEADS[family])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    model.save_pretrained(folder)
    tokenizer = words.fast_tokenizer(longest_text(model) or CONTEXT)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    made: dict[tuple[str, str], Path] = {}

    def make(family: str, objective: str = "") -> Path:
        key = family, objective
        if key not in made:
            made[key] = write_model(tmp_path_factory.mktemp("m") / "model", family, objective)
        return made[key]

    return make


@pytest.fixture(scope="session")
def engine_of(folder_of: Callable[..., Path]) -> Iterator[Callable[..., TransformersEngine]]:
    made: dict[tuple[str, str], TransformersEngine] = {}

    def make(family: str, objective: str = "") -> TransformersEngine:
        key = family, objective
        if key not in made:
            made[key] = TransformersEngine(folder_of(*key), slots=4, precision="fp32")
        return made[key]

    yield make
    for engine in made.values():
        engine.close()


class Lasting:
    """An engine whose `close` is left to the fixture that owns it."""

    def __init__(self, engine: TransformersEngine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        if name == "close":
            raise AttributeError(name)
        return getattr(self._engine, name)


@pytest.fixture(scope="session")
def lasting(engine_of: Callable[..., TransformersEngine]) -> Callable[..., Any]:
    """An engine that a server does not close at its end."""
    return lambda *kind: Lasting(engine_of(*kind))
