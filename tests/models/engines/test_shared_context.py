"""Likelihoods with a context read once are those of each pair alone."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from llmos.models.engines import shared_context
from llmos.models.engines.loading import Loaded
from llmos.models.engines.shared_context import likelihoods
from llmos.models.families import build_model
from llmos.models.framing import document_tokens
from llmos.models.pieces import count_pieces
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.recipe import Recipe

torch.set_num_threads(1)

CONTEXT = 48
QUESTION = "Where is the house? The house is by the tree in the street of bread and water. "
PAIRS = [
    (QUESTION, "by the tree"),
    (QUESTION, "by the water"),
    (QUESTION, "水"),
    (QUESTION, ""),
    ("", "a house"),
    ("", "a house and a tree"),
    ("x", " y"),
    (QUESTION * 4, "by the tree"),
    (QUESTION * 4, "by the tree in the street, where the water is"),
    ("a", QUESTION * 4),
    (QUESTION, "by the tree"),
]


@cache
def loaded(family: str) -> Loaded:
    values = {
        "model.family": family,
        "model.num_layers": 2,
        "model.num_heads": 2,
        "model.hidden_size": 32,
        "model.context_length": CONTEXT,
        "tokenizer.vocabulary_size": 290,
        "tokenizer.threshold": 0,
        "training.sequence_length": CONTEXT,
    }
    recipe = Recipe(name="t").with_values(values)
    words = Vocabulary.of(train_tokenizer(count_pieces([QUESTION, QUESTION, "水"]), recipe))
    model = build_model(recipe.model, words, seed=5, head="causal_lm")
    with torch.no_grad():  # far from even, so that what a token sees would show
        for parameter in model.parameters():
            parameter.mul_(3)
    return Loaded.of(Path(family), model.eval(), words, "causal_lm")


@torch.no_grad()
def alone(family: str, context: str, continuation: str) -> tuple[float, int, bool]:
    """By one row without mask or padding, of the definition."""
    one: Any = loaded(family)
    blank = len(context) - len(context.rstrip())
    before = document_tokens(one.words, context.rstrip())
    whole = document_tokens(one.words, context + continuation)
    count = min(len(whole) - len(before), CONTEXT)
    row = whole[-(CONTEXT + 1) :]
    if not continuation and not blank:
        return 0.0, 0, True
    values = one.model(input_ids=torch.tensor([row[:-1]])).logits[0].double().log_softmax(-1)
    places = range(len(row) - 1 - count, len(row) - 1)
    total = sum(float(values[place, row[place + 1]]) for place in places)
    greedy = all(int(values[place].argmax()) == row[place + 1] for place in places)
    return total, count, greedy


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_each_pair_is_as_it_would_be_alone(family: str) -> None:
    for found, pair in zip(likelihoods(loaded(family), PAIRS), PAIRS, strict=True):
        logprob, tokens, greedy = alone(family, *pair)
        assert found.logprob == pytest.approx(logprob, abs=1e-3), pair
        assert (found.tokens, found.is_greedy) == (tokens, greedy), pair


@pytest.mark.parametrize("name", ["BATCH_TOKENS", "TAIL_TOKENS"])
def test_small_batches_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = likelihoods(loaded("gpt2"), PAIRS)
    monkeypatch.setattr(shared_context, name, 8)
    for one, other in zip(likelihoods(loaded("gpt2"), PAIRS), whole, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-4)


def test_a_context_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []
    forward = loaded("gpt2").model.forward

    def counted(**options: Any) -> Any:
        computed.append(options["input_ids"].numel())
        return forward(**options)

    monkeypatch.setattr(shared_context, "_can_share", lambda model: True)
    monkeypatch.setattr(shared_context, "_logits", _logits_by(counted))
    likelihoods(loaded("gpt2"), [(QUESTION, "by the tree"), (QUESTION, "in the street")] * 1)
    stem = len(document_tokens(loaded("gpt2").words, QUESTION.rstrip()))
    assert sum(computed) < 1.6 * stem


def _logits_by(forward: Any) -> Any:
    def logits(model: Any, ids: Any, places: Any, mask: Any, last: int) -> Any:
        return forward(input_ids=ids, attention_mask=mask, position_ids=places).logits[:, -last:]

    return logits


def test_a_model_that_looks_through_a_window_gets_each_pair_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loaded("llama").model.config, "sliding_window", 4, raising=False)
    assert not shared_context._can_share(loaded("llama").model)
    for found, pair in zip(likelihoods(loaded("llama"), PAIRS), PAIRS, strict=True):
        assert found.logprob == pytest.approx(alone("llama", *pair)[0], abs=1e-3), pair
