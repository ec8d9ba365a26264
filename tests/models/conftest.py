"""Tiny models of each kind as folders, for the engines over them and their exports."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from llmos.models.families import build_model
from llmos.models.pieces import count_pieces
from llmos.models.publish import write_model_folder
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.recipe import Recipe

TEXTS = ["the tree", "x", "水", "a house and a tree and a street", "bread, water 面包", "a b"]
_KINDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "gpt2": ("gpt2", "causal_lm", ()),
    "llama": ("llama", "causal_lm", ()),
    "chat": ("llama", "instruction", ()),
    "t5": ("t5", "seq2seq", ()),
    "bert": ("bert", "masked_lm", ()),
    "labels": ("bert", "classification", ("bad", "good", "odd")),
    "answers": ("bert", "extractive_qa", ()),
}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a model of a kind: far from trained, but far from even too."""

    @cache
    def made(kind: str) -> Path:
        family, objective, labels = _KINDS[kind]
        recipe = Recipe(name="t").with_values(
            {
                "model.family": family,
                "model.num_layers": 2,
                "model.num_heads": 4,
                "model.hidden_size": 32,
                "model.context_length": 48,
                **({"model.num_key_value_heads": 2} if family == "llama" else {}),
                "tokenizer.vocabulary_size": 370 if family == "t5" else 280,
                "tokenizer.threshold": 0,
                "training.sequence_length": 48,
                "objective.name": objective,
                **({"objective.labels": list(labels)} if labels else {}),
            }
        )
        words = Vocabulary.of(train_tokenizer(count_pieces([*TEXTS, *TEXTS]), recipe))
        head = "causal_lm" if objective == "instruction" else objective
        model = build_model(recipe.model, words, seed=5, head=head, labels=labels)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(3)
        folder = tmp_path_factory.mktemp(kind) / kind
        write_model_folder(folder, model.eval(), words, 48)
        return folder

    return made
