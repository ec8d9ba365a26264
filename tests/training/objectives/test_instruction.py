"""Instruction tuning: the loss on the answers is transformers', packed or not."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from llmos.data.batches import IGNORE
from llmos.data.documents import Document
from llmos.errors import ModelError
from llmos.models.chat import prompt_tokens
from llmos.models.families import build_model
from llmos.models.generate_batch import generate_batch
from llmos.models.pieces import count_pieces
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.recipe import Recipe
from llmos.training.loop import Trainer
from llmos.training.objectives import make_objective
from llmos.training.objectives.instruction import Instruction

torch.set_num_threads(1)  # over models this small, threads only wait for one another

FAMILIES = ("gpt2", "llama")
LENGTH = 48
CAPITALS = {"France": "Paris", "中国": "北京", "Italy": "Rome", "日本": "东京", "Egypt": "Cairo"}


def chat(*turns: tuple[str, str]) -> Document:
    messages = [{"role": role, "content": content} for role, content in turns]
    return Document("", "", {"messages": json.dumps(messages)}, turns[0][1])


def some_chats(count: int, seed: int = 0) -> list[Document]:
    """One or two questions with their answers, some of them told how to answer."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        turns = [("system", "Be brief.")] if draw.random() < 0.3 else []
        for country in draw.sample(list(CAPITALS), draw.randint(1, 2)):
            turns += [("user", f"{country}?"), ("assistant", CAPITALS[country])]
        made.append(chat(*turns))
    return made


CHATS = some_chats(12)


def recipe_of(family: str = "gpt2", **training: Any) -> Recipe:
    values = {
        "model.family": family,
        "model.num_layers": 2,
        "model.num_heads": 2,
        "model.hidden_size": 32,
        "model.context_length": LENGTH,
        "tokenizer.vocabulary_size": 280,
        "tokenizer.threshold": 0,
        "objective.name": "instruction",
        "training.sequence_length": LENGTH,
        "training.precision": "fp32",
    }
    return Recipe(name="t").with_values(values | {f"training.{k}": v for k, v in training.items()})


@cache
def made(family: str) -> tuple[Vocabulary, Any]:
    recipe = recipe_of(family)
    texts = [text for pair in CAPITALS.items() for text in pair] * 3
    words = Vocabulary.of(train_tokenizer(count_pieces(texts), recipe))
    model = build_model(recipe.model, words, seed=3)
    with torch.no_grad():  # far from even, so that a wrong place shows
        for parameter in model.parameters():
            parameter.mul_(3)
    return words, model.eval()


def tensors(batch: Mapping[str, np.ndarray], rows: slice = slice(None)) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array[rows]) for name, array in batch.items()}


def by_hand(words: Vocabulary, document: Document) -> tuple[torch.Tensor, torch.Tensor]:
    """A chat's ids and, as transformers wants them, the same ids with what is no answer masked."""
    ids: list[int] = []
    labels: list[int] = []
    for message in json.loads(document.fields["messages"]):
        content = [*words.encode(message["content"]), words.end]
        ids += [words.roles[f"<|{message['role']}|>"], *content]
        is_answer = message["role"] == "assistant"
        labels += [IGNORE, *(content if is_answer else [IGNORE] * len(content))]
    return torch.tensor([ids]), torch.tensor([labels])


def expected_sums(family: str, documents: Sequence[Document]) -> list[float]:
    """Transformers' own loss on each chat alone, in nats over its answers."""
    words, model = made(family)
    found = []
    for document in documents:
        ids, labels = by_hand(words, document)
        with torch.no_grad():
            loss = model(input_ids=ids, labels=labels).loss
        found.append(float(loss) * int((labels != IGNORE).sum()))
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_chats_lose_what_each_loses_alone(family: str) -> None:
    words, model = made(family)
    objective = Instruction(recipe_of(family, document_attention=True), words)
    data = objective.batches(CHATS, 1)
    rows = data.rows(0)
    assert len(rows) < len(CHATS)  # some share a row
    batch = data.batch(0, len(rows))
    with torch.no_grad():
        loss = objective.losses(model, tensors(batch))["token"]
    expected = sum(expected_sums(family, CHATS))
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    answers = sum(int((by_hand(words, d)[1] != IGNORE).sum()) for d in CHATS)
    assert objective.counts(batch) == {"token": answers}
    assert objective.tokens(batch) == sum(by_hand(words, d)[0].numel() for d in CHATS)


@pytest.mark.parametrize("document_attention", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_gradient_is_that_of_transformers(family: str, document_attention: bool) -> None:
    words, model = made(family)
    ours, theirs = copy.deepcopy(model), copy.deepcopy(model)
    objective = Instruction(recipe_of(family, document_attention=document_attention), words)
    data = objective.batches(CHATS, 1)
    batch = data.batch(0, len(data.rows(0)))
    loss = objective.losses(ours, tensors(batch))["token"] / objective.counts(batch)["token"]
    if document_attention:  # each chat alone
        chats = [by_hand(words, document) for document in CHATS]
    else:  # each row as one text
        chats = [
            tuple(
                torch.cat(parts, dim=1)
                for parts in zip(*(by_hand(words, CHATS[n]) for n in row), strict=True)
            )
            for row in data.rows(0)
        ]
    total = torch.zeros(())
    for ids, labels in chats:
        # Without its end: transformers predicts nothing from the last token.
        total = total + theirs(input_ids=ids, labels=labels).loss * (labels[:, 1:] != IGNORE).sum()
    expected = total / objective.counts(batch)["token"]
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    loss.backward()
    expected.backward()
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=2e-6, msg=name)


def test_parts_of_a_batch_add_up_to_it() -> None:
    words, model = made("gpt2")
    objective = Instruction(recipe_of(), words)
    batch = objective.batches(CHATS, 1).batch(0, 4)
    with torch.no_grad():
        whole = objective.losses(model, tensors(batch))["token"]
        parts = [
            objective.losses(model, tensors(batch, slice(n, n + 1)))["token"] for n in range(4)
        ]
    torch.testing.assert_close(sum(parts), whole)


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_each_chat_alone(family: str) -> None:
    words, model = made(family)
    objective = Instruction(recipe_of(family), words)
    scores = objective.score(model, CHATS)
    np.testing.assert_allclose(scores.nll, expected_sums(family, CHATS), rtol=1e-4)
    messages = [json.loads(document.fields["messages"]) for document in CHATS]
    answers = [[m["content"] for m in chat if m["role"] == "assistant"] for chat in messages]
    assert scores.bytes.tolist() == [sum(len(a.encode()) for a in some) for some in answers]
    assert scores.tokens.tolist() == [
        sum(len(words.encode(a)) + 1 for a in some) for some in answers
    ]
    np.testing.assert_array_equal(objective.score(model, CHATS, block_bytes=1).nll, scores.nll)


def test_a_long_chat_loses_the_beginnings_of_its_prompts() -> None:
    words, model = made("gpt2")
    objective = Instruction(recipe_of(sequence_length=20), words)
    user, system, assistant = (words.roles[f"<|{r}|>"] for r in ("user", "system", "assistant"))
    encode, end = words.encode, words.end
    fits = chat(("user", "ab"), ("assistant", "cd"))
    long = chat(("system", "12345"), ("user", "abcdefghij"), ("assistant", "xyz"))
    batch = objective.batches([fits, long], 1).batch(0, 2)
    assert objective.cut == 1
    rows = {
        tuple(ids[documents >= 0].tolist()): labels[documents >= 0].tolist()
        for ids, labels, documents in zip(*batch.values(), strict=True)
    }
    # 24 tokens, 4 too many: of the first message first.
    kept = (system, *encode("5"), end, user, *encode("abcdefghij"), end)
    answer = (assistant, *encode("xyz"), end)
    assert rows[(*kept, *answer)] == [IGNORE] * len(kept) + [*encode("xyz"), end, IGNORE]
    much = chat(("system", "12345"), ("user", "abcdefghij"), ("assistant", "xyz" * 10))
    batch = objective.batches([much], 1).batch(0, 1)
    expected = [system, end, user, end, assistant, *encode("xyz" * 5)]
    assert objective.cut == 1 and batch["input_ids"][0].tolist() == expected
    scores = objective.score(model, [fits, long, much])
    assert scores.bytes.tolist() == [2, 3, 15] and scores.tokens.tolist() == [3, 4, 15]


def test_a_tokenizer_without_roles() -> None:
    recipe = recipe_of().with_values({"objective.name": "causal_lm"})
    words = Vocabulary.of(
        train_tokenizer(
            count_pieces(["Paris " * 3]), recipe.with_values({"tokenizer.vocabulary_size": 260})
        )
    )
    with pytest.raises(ModelError, match=r"no token <\|system\|>"):
        make_objective(recipe_of(), words)


@pytest.mark.parametrize("document_attention", [True, False])
def test_a_tiny_model_learns_to_answer(document_attention: bool) -> None:
    recipe = recipe_of(
        learning_rate=1e-2,
        warmup_steps=5,
        batch_size=4,
        threads=1,
        document_attention=document_attention,
    )
    words, _ = made("gpt2")
    objective = make_objective(recipe, words)
    asked = [
        chat(("user", country + "?"), ("assistant", city)) for country, city in CAPITALS.items()
    ]
    model = build_model(recipe.model, words, seed=1)
    data = objective.batches(asked, seed=1)
    trainer = Trainer(model, data, objective, recipe.training, total_steps=120, seed=1)
    assert set(trainer.run(120).losses) == {"token"}
    prompts = [
        prompt_tokens(words, [{"role": "user", "content": country + "?"}]) for country in CAPITALS
    ]
    assert generate_batch(model, words, prompts, max_new_tokens=12) == list(CAPITALS.values())
    assert objective.score(model, asked).bits_per_byte < 0.1
