"""Span corruption: its loss is transformers' own, and a model learns by it."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from llmos.data.batches import Batch
from llmos.data.documents import Document
from llmos.errors import DataError, RecipeError
from llmos.models.families import build_model
from llmos.models.pieces import count_pieces
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.recipe import Recipe
from llmos.training.loop import Trainer
from llmos.training.objectives import make_objective
from llmos.training.objectives.span_corruption import SpanCorruption
from llmos.training.objectives.units import fixed_random

torch.set_num_threads(1)  # over models this small, threads only wait for one another

LENGTH = 40
WORDS = ["lantern", "bicycle", "letter", "violin", "basket", "小船", "книга", "رسالة"]


def texts(number: int, seed: int) -> list[Document]:
    draw = random.Random(seed)
    return [
        Document(f"{count}.txt", " ".join(draw.choice(WORDS) for _ in range(draw.randint(9, 40))))
        for count in range(number)
    ]


TRAIN, HELD_OUT = texts(40, 0), texts(6, 1)


def recipe(**changes: Any) -> Recipe:
    values = {
        "objective.name": "span_corruption",
        "model.family": "t5",
        "model.num_layers": 1,
        "model.num_heads": 2,
        "model.hidden_size": 32,
        "model.context_length": 64,
        "tokenizer.vocabulary_size": 390,
        "training.sequence_length": LENGTH,
        "training.batch_size": 16,
        "training.learning_rate": 1e-2,
        "training.warmup_steps": 5,
        "training.precision": "fp32",
        "training.threads": 1,
    }
    return Recipe(name="spans").with_values(values | changes)


@cache
def vocabulary() -> Vocabulary:
    return Vocabulary.of(train_tokenizer(count_pieces(d.text for d in TRAIN), recipe()))


def objective(**changes: Any) -> SpanCorruption:
    made = make_objective(recipe(**changes), vocabulary())
    assert isinstance(made, SpanCorruption)
    return made


def model(learning: SpanCorruption) -> Any:
    return build_model(recipe().model, learning.words, 0, head=learning.head)


def tensors(batch: Batch, rows: slice = slice(None)) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array[rows]) for name, array in batch.items()}


def test_loss_and_gradients_are_those_of_transformers() -> None:
    learning = objective()
    network = model(learning)
    theirs = copy.deepcopy(network)
    batch = learning.batches(TRAIN, 0).batch(0, 8)
    rows = tensors(batch)
    # It shifts the labels by itself.
    expected = theirs(input_ids=rows["input_ids"], labels=rows["labels"]).loss
    losses, counts = learning.losses(network, rows), learning.counts(batch)
    loss = losses["token"] / counts["token"]
    assert losses.keys() == counts.keys()
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-6)
    loss.backward()
    expected.backward()
    for (name, a), b in zip(network.named_parameters(), theirs.parameters(), strict=True):
        assert a.grad is not None
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6, msg=name)
    parts = [learning.losses(network, tensors(batch, slice(at, at + 2))) for at in (0, 2, 4, 6)]
    total = torch.stack([part["token"] for part in parts]).sum()
    torch.testing.assert_close(total, losses["token"], rtol=1e-6, atol=1e-4)


def test_rows_are_full_and_together_give_the_text_back() -> None:
    learning = objective()
    words = learning.words
    source = learning.batches(TRAIN, 0)
    together = " ".join(str(t) for d in TRAIN for t in words.encode(d.text))
    batch = source.batch(0, 16)
    assert batch["input_ids"].shape == (16, LENGTH)
    assert learning.tokens(batch) == batch["input_ids"].size + batch["labels"].size
    for inputs, labels in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
        assert inputs[-1] == labels[-1] == words.end
        written: dict[int, list[int]] = {}
        for token in labels[:-1]:
            if token in words.sentinels:
                written[token] = []
            else:
                written[list(written)[-1]].append(token)
        text = [t for token in inputs[:-1] for t in written.get(token, [token])]
        assert len(text) == learning.text_length
        assert " ".join(map(str, text)) in together


def test_batches_are_the_same_after_a_restart() -> None:
    learning = objective()
    source = learning.batches(TRAIN, 3)
    batches = [source.batch(step, 16) for step in range(8)]  # more than an epoch
    fresh = learning.batches(TRAIN, 3)
    for step in (7, 2):
        again = fresh.batch(step, 16)
        assert all((again[name] == batches[step][name]).all() for name in again)
    assert (batches[0]["labels"] != batches[1]["labels"]).any()


def scored_one_by_one(learning: SpanCorruption, network: Any, text: str) -> tuple[float, int, int]:
    """Sum of losses, labels, and bytes of the noise, one row at a time."""
    tokens, sizes = learning.words.encode_with_bytes(text)
    draw = fixed_random(np.array(tokens))
    nll, labels, size = 0.0, 0, 0
    for start in range(0, len(tokens), learning.text_length):
        window = np.array([tokens[start : start + learning.text_length]])
        if window.size < 2:
            break
        noise = learning.corruption.noise(1, window.size, draw)
        batch = tensors(learning.corruption.corrupt(window, noise))
        logits = network(
            **{name: batch[name] for name in ("input_ids", "decoder_input_ids")}
        ).logits
        nll += functional.cross_entropy(logits[0], batch["labels"][0], reduction="sum").item()
        labels += batch["labels"].numel()
        size += int(sizes[start : start + window.size][noise[0]].sum())
    return nll, labels, size


def test_scores_are_those_of_each_row_alone() -> None:
    learning = objective()
    network = model(learning)
    one_more = learning.words.tokenizer.decode(
        learning.words.encode(TRAIN[0].text * 9)[: learning.text_length + 1]
    )
    assert len(learning.words.encode(one_more)) == learning.text_length + 1  # the last is not read
    documents = [Document("e", ""), Document("s", "a"), *HELD_OUT, Document("o", one_more)]
    network.train()
    scores = learning.score(network, documents)
    assert network.training
    network.eval()
    with torch.no_grad():
        expected = [scored_one_by_one(learning, network, d.text) for d in documents]
    expected = [found for found in expected if found[1]]
    assert len(expected) == len(documents) - 2  # an empty text and a single token have no noise
    np.testing.assert_allclose(scores.nll, [nll for nll, _, _ in expected], rtol=1e-5)
    assert scores.tokens.tolist() == [labels for _, labels, _ in expected]
    assert scores.bytes.tolist() == [size for _, _, size in expected]
    again = learning.score(network, documents[::-1])
    np.testing.assert_allclose(again.nll[::-1], scores.nll, rtol=1e-6)


def test_the_blocks_of_a_document_add_up() -> None:
    learning = objective()
    network = model(learning)
    whole = learning.score(network, HELD_OUT)
    blocks = learning.score(network, HELD_OUT, block_bytes=50)
    assert len(blocks.nll) > 1.5 * len(whole.nll)
    assert (blocks.bytes[blocks.tokens > 1] > 0).all()  # a sentinel counts where its span does
    assert blocks.nll.sum() == pytest.approx(whole.nll.sum())
    assert blocks.tokens.sum() == whole.tokens.sum()
    assert blocks.bytes.sum() == whole.bytes.sum()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_model_learns_a_text(precision: str) -> None:
    changes = {"training.precision": precision}
    learning = objective(**changes)
    network = model(learning)
    source, settings = learning.batches(TRAIN, 0), recipe(**changes).training
    trainer = Trainer(network, source, learning, settings, total_steps=80, seed=0)
    before = learning.score(network, HELD_OUT)
    first, last = trainer.run(40), trainer.run(40)
    after = learning.score(network, HELD_OUT)
    assert after.bits_per_byte < 0.5 * before.bits_per_byte
    assert last.losses["token"] < 0.7 * first.losses["token"]


def test_a_tokenizer_without_sentinels_is_refused() -> None:
    words = replace(vocabulary(), sentinels=())
    with pytest.raises(RecipeError, match=r"sentinels \(<extra_id_0>, ...\), but the tokenizer"):
        make_objective(recipe(), words)


def test_too_little_text_is_refused() -> None:
    with pytest.raises(DataError, match="fewer than one sequence"):
        objective().batches([Document("a", "letter")], 0)
    with pytest.raises(DataError, match="only 0 tokens"):
        objective().batches([], 0)
