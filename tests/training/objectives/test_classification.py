"""Classification equals transformers' own loss, whatever the padding, for every family."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from llmos.data.documents import Document
from llmos.errors import DataError, RecipeError
from llmos.models.families import build_model
from llmos.models.pieces import count_pieces
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.recipe import Recipe
from llmos.training.loop import Trainer
from llmos.training.objectives.classification import Classification

torch.set_num_threads(1)  # over models this small, threads only wait for one another

FAMILIES = ("gpt2", "llama", "bert", "t5")
LABELS = ("negative", "neutral", "положительный")
FEELINGS = ("bad", "so-so", "хорошо")
WORDS = ["house", "tree", "water", "street", "小明", "在", "学校", "苹果", "дом", "вода", "بيت"]


def some_documents(count: int, seed: int = 0, most: int = 11) -> list[Document]:
    """Up to `most` words and among them one of a feeling, whose number is that of the label."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        words = draw.choices(WORDS, k=draw.randint(0, most))
        label = draw.randrange(3)
        words.insert(draw.randint(0, len(words)), FEELINGS[label])
        text = " ".join(words)
        made.append(Document(str(number), text, {"text": text, "label": LABELS[label]}))
    return made


DOCUMENTS = some_documents(24)


def recipe_of(family: str, **training: Any) -> Recipe:
    values = {
        "model.family": family,
        "model.num_layers": 2,
        "model.num_heads": 2,
        "model.hidden_size": 16,
        "model.context_length": 64,
        "tokenizer.vocabulary_size": 390 if family == "t5" else 300,
        "tokenizer.threshold": 0,
        "objective.name": "classification",
        "objective.labels": list(LABELS),
        "training.sequence_length": 16,
    }
    values |= {f"training.{name}": value for name, value in training.items()}
    return Recipe(name="tiny").with_values(values)


@cache
def made(family: str) -> tuple[Classification, Vocabulary, Any]:
    recipe = recipe_of(family)
    counts = count_pieces(document.text for document in DOCUMENTS)
    words = Vocabulary.of(train_tokenizer(counts, recipe))
    model = build_model(recipe.model, words, seed=3, head="classification", labels=LABELS)
    with torch.no_grad():  # far from even, so that a wrong place shows
        for parameter in model.parameters():
            parameter.mul_(2)
    return Classification(recipe, words), words, model.eval()


def tensors(batch: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in batch.items()}


def alone(family: str, text: str, label: str = LABELS[0]) -> Any:
    """What transformers says of one text without padding, framed and cut by its own tokenizer."""
    _, words, model = made(family)
    inputs = words.fast_tokenizer(16)(text, truncation=True, max_length=16)
    with torch.no_grad():
        return model(
            input_ids=torch.tensor([inputs["input_ids"]]),
            labels=torch.tensor([LABELS.index(label)]),
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_are_what_transformers_makes_of_the_texts(family: str) -> None:
    objective, words, _ = made(family)
    batch = objective.batches(DOCUMENTS, seed=1).batch(0, len(DOCUMENTS))
    found = sorted(
        (row[mask == 1].tolist(), int(label))
        for row, mask, label in zip(
            batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True
        )
    )
    tokenizer = words.fast_tokenizer(16)
    expected = sorted(
        (
            tokenizer(d.text, truncation=True, max_length=16)["input_ids"],
            LABELS.index(d.fields["label"]),
        )
        for d in DOCUMENTS
    )
    assert found == expected
    assert {len(row) for row, _ in found} >= {16}  # some are cut
    assert objective.tokens(batch) == sum(len(row) for row, _ in found)
    assert objective.counts(batch) == {"label": len(DOCUMENTS)}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_and_its_gradient_are_those_of_transformers(family: str) -> None:
    objective, _, model = made(family)
    batch = tensors(objective.batches(DOCUMENTS, seed=1).batch(0, len(DOCUMENTS)))
    ours, theirs = copy.deepcopy(model), copy.deepcopy(model)
    loss = objective.losses(ours, batch)["label"] / len(DOCUMENTS)
    expected = theirs(**batch).loss
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    loss.backward()
    expected.backward()
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_changes_no_row(family: str) -> None:
    objective, _, model = made(family)
    model.train()
    scores = objective.score(model, DOCUMENTS)
    assert model.training
    model.eval()
    expected = [alone(family, d.text, d.fields["label"]).loss.item() for d in DOCUMENTS]
    assert scores.nll == pytest.approx(expected, abs=1e-5)
    assert max(expected) - min(expected) > 0.1
    assert scores.tokens.tolist() == [1] * len(DOCUMENTS)
    assert scores.bytes.tolist() == [len(d.fields["label"].encode()) for d in DOCUMENTS]
    batch = tensors(objective.batches(DOCUMENTS, seed=1).batch(0, len(DOCUMENTS)))
    total = objective.losses(model, batch)["label"].item()
    assert total == pytest.approx(sum(expected), abs=1e-4)
    again = objective.score(model, DOCUMENTS)
    assert (again.nll == scores.nll).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_probabilities_and_accuracy(family: str) -> None:
    objective, _, model = made(family)
    found = objective.predict(model, [d.text for d in DOCUMENTS])
    assert found.dtype == np.float32 and found.shape == (len(DOCUMENTS), 3)
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-6)
    expected = [torch.softmax(alone(family, d.text).logits[0], -1).tolist() for d in DOCUMENTS]
    assert found == pytest.approx(np.array(expected), abs=1e-5)
    guesses = [LABELS[int(np.argmax(row))] for row in expected]
    right = [guess == d.fields["label"] for guess, d in zip(guesses, DOCUMENTS, strict=True)]
    assert objective.accuracy(model, DOCUMENTS) == pytest.approx(np.mean(right))
    matrix = objective.confusion(model, DOCUMENTS)
    for true in range(3):
        for guess in range(3):
            assert matrix[true, guess] == sum(
                (d.fields["label"], g) == (LABELS[true], LABELS[guess])
                for d, g in zip(DOCUMENTS, guesses, strict=True)
            )


@pytest.mark.parametrize("family", FAMILIES)
def test_an_empty_text_and_no_text(family: str) -> None:
    objective, _, model = made(family)
    beside_others = objective.predict(model, ["", "house", "bad " * 20])
    assert beside_others[0] == pytest.approx(objective.predict(model, [""])[0], abs=1e-5)
    assert objective.predict(model, []).shape == (0, 3)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_the_end_of_text_may_be_the_padding(family: str) -> None:
    # As with GPT-2's own tokenizer, which has no token for padding.
    objective, words, model = made(family)
    same = copy.deepcopy(model)
    same.config.pad_token_id = words.end
    without = Classification(recipe_of(family), replace(words, pad=words.end))
    texts = [d.text for d in DOCUMENTS]
    assert without.predict(same, texts) == pytest.approx(objective.predict(model, texts), abs=1e-6)


def test_special_tokens_spelled_in_a_text_are_text() -> None:
    objective, words, model = made("t5")
    rows = objective.batches([labelled("one </s> two</s>", LABELS[1])], seed=0).batch(0, 1)
    assert (rows["input_ids"] == words.end).sum() == 1
    assert np.isfinite(objective.predict(model, ["a </s> b", "tree"])).all()


def labelled(text: str, label: str) -> Document:
    return Document("x:7", text, {"text": text, "label": label})


def test_an_unknown_label_is_named_with_the_known_ones() -> None:
    objective, _, model = made("bert")
    documents: Sequence[Document] = [*DOCUMENTS, labelled("tree", "positive")]
    for use in (
        lambda: objective.batches(documents, 0),
        lambda: objective.score(model, documents),
        lambda: objective.accuracy(model, documents),
    ):
        with pytest.raises(DataError, match=r"x:7 .*'positive'.* negative, neutral, полож"):
            use()


def test_rows_too_short_for_any_text_are_refused() -> None:
    _, words, _ = made("bert")
    with pytest.raises(RecipeError, match="sequence_length = 2 leaves no room"):
        Classification(recipe_of("bert", sequence_length=2), words)
    Classification(recipe_of("gpt2", sequence_length=2), made("gpt2")[1])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_tiny_model_learns(family: str, precision: str) -> None:
    recipe = recipe_of(
        family,
        sequence_length=32,
        batch_size=16,
        learning_rate=3e-3,
        warmup_steps=20,
        precision=precision,
    ).with_values({"model.hidden_size": 32})
    words = made(family)[1]
    objective = Classification(recipe, words)
    model = build_model(recipe.model, words, seed=0, head="classification", labels=LABELS)
    train, held_out = some_documents(200, 1, most=3), some_documents(60, 2, most=3)
    assert objective.accuracy(model, held_out) < 0.6
    data = objective.batches(train, seed=0)
    trainer = Trainer(model, data, objective, recipe.training, total_steps=100, seed=0)
    report = trainer.run(100)
    assert set(report.losses) == {"label"}
    assert objective.accuracy(model, held_out) > 0.95
