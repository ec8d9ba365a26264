"""Masked language modelling: its losses are transformers' own, and a model learns by it."""

from __future__ import annotations

import copy
import random
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import RobertaConfig, RobertaForMaskedLM

from llmos.data.batches import IGNORE, Batch, Batches
from llmos.data.documents import Document
from llmos.errors import ModelError, RecipeError
from llmos.models.families import build_model
from llmos.models.pieces import count_pieces
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.recipe import Recipe
from llmos.training.loop import Trainer
from llmos.training.objectives import make_objective
from llmos.training.objectives.masked_lm import MaskedLM
from llmos.training.objectives.units import fixed_random

torch.set_num_threads(1)  # over models this small, threads only wait for one another

LENGTH = 32
NAMES = ["Anna", "Ben", "Chen", "Dana", "Emil", "Fatima", "Goran", "Hana"]
THINGS = ["lantern", "bicycle", "letter", "violin", "basket", "compass", "blanket", "teapot"]
动物 = "猫狗马鸟鱼羊虎兔"


def texts(number: int, seed: int) -> list[Document]:
    """Documents of one person and one thing each, English and Chinese."""
    draw = random.Random(seed)
    made = []
    for count in range(number):
        a, b, c = draw.choice(NAMES), draw.choice(THINGS), draw.choice(动物)
        english = [f"{a} took the {b} home {draw.randrange(10)} times." for _ in range(8)]
        chinese = [f"{c}走了{draw.randrange(10)}天。" for _ in range(12)]
        text = " ".join(english) if count % 2 else "".join(chinese)
        made.append(Document(f"{count}.txt", text))
    return made


TRAIN, HELD_OUT = texts(40, 0), texts(6, 1)


def recipe(**changes: Any) -> Recipe:
    values = {
        "objective.name": "masked_lm",
        "model.family": "bert",
        "model.num_layers": 1,
        "model.num_heads": 2,
        "model.hidden_size": 32,
        "model.context_length": 64,
        "tokenizer.vocabulary_size": 300,
        "training.sequence_length": LENGTH,
        "training.batch_size": 16,
        "training.learning_rate": 1e-2,
        "training.warmup_steps": 5,
        "training.precision": "fp32",
        "training.threads": 1,
    }
    return Recipe(name="masked").with_values(values | changes)


@cache
def vocabulary() -> Vocabulary:
    return Vocabulary.of(train_tokenizer(count_pieces(d.text for d in TRAIN), recipe()))


def objective(**changes: Any) -> MaskedLM:
    made = make_objective(recipe(**changes), vocabulary())
    assert isinstance(made, MaskedLM)
    return made


def model(learning: MaskedLM, seed: int = 0) -> Any:
    return build_model(recipe().model, learning.words, seed, head=learning.head)


def tensors(batch: Batch, rows: slice = slice(None)) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array[rows]) for name, array in batch.items()}


def mean_loss(learning: MaskedLM, network: Any, batch: Batch) -> torch.Tensor:
    counts = learning.counts(batch)
    losses = learning.losses(network, tensors(batch))
    assert losses.keys() == counts.keys()
    return torch.stack([loss / counts[name] for name, loss in losses.items()]).sum()


@pytest.mark.parametrize("pairs", [True, False])
def test_losses_and_gradients_are_those_of_transformers(pairs: bool) -> None:
    learning = objective(**{"objective.next_sentence": pairs})
    network = model(learning)
    theirs = copy.deepcopy(network)
    batch = learning.batches(TRAIN, 0).batch(0, 8)
    rows = tensors(batch)
    rows.pop("masked_places")
    expected = theirs(**rows).loss
    loss = mean_loss(learning, network, batch)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-6)
    loss.backward()
    expected.backward()
    for (name, a), b in zip(network.named_parameters(), theirs.parameters(), strict=True):
        assert a.grad is not None
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_the_parts_of_a_batch_add_up_to_the_whole() -> None:
    learning = objective()
    network = model(learning).eval()
    batch = learning.batches(TRAIN, 0).batch(2, 6)
    whole = learning.losses(network, tensors(batch))
    assert set(whole) == {"masked_token", "next_sentence"}
    parts = [learning.losses(network, tensors(batch, slice(at, at + 2))) for at in (0, 2, 4)]
    for name, loss in whole.items():
        total = torch.stack([part[name] for part in parts]).sum()
        torch.testing.assert_close(total, loss, rtol=1e-6, atol=1e-5)


def test_losses_are_sums_in_nats_and_tokens_are_without_padding() -> None:
    learning = objective()
    network = model(learning).eval()
    for parameter in network.cls.parameters():
        torch.nn.init.zeros_(parameter)  # then all answers are equally likely
    batch = learning.batches(TRAIN, 0).batch(0, 8)
    masked = int((batch["labels"] != IGNORE).sum())
    assert learning.counts(batch) == {"masked_token": masked, "next_sentence": 8}
    assert learning.tokens(batch) == int((batch["input_ids"] != learning.words.pad).sum())
    losses = learning.losses(network, tensors(batch))
    assert losses["masked_token"].item() == pytest.approx(masked * np.log(300), rel=1e-5)
    assert losses["next_sentence"].item() == pytest.approx(8 * np.log(2), rel=1e-5)


def test_a_base_that_is_no_bert_learns_to_tell_masked_tokens_only() -> None:
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=80, pad_token_id=0, type_vocab_size=2,
    )  # fmt: skip
    network = RobertaForMaskedLM(config).eval()
    learning = objective(**{"objective.next_sentence": False})
    batch = learning.batches(TRAIN, 0).batch(0, 4)
    rows = tensors(batch)
    rows.pop("masked_places")
    torch.testing.assert_close(
        mean_loss(learning, network, batch), network(**rows).loss, rtol=0, atol=1e-6
    )
    pairs = objective()
    with pytest.raises(ModelError, match="next_sentence = false"):
        pairs.losses(network, tensors(pairs.batches(TRAIN, 0).batch(0, 2)))


def test_the_random_half_is_of_the_same_language() -> None:
    learning = objective()
    source = learning.batches(TRAIN, 0)
    decode = learning.words.tokenizer.decode
    seen = 0
    for step in range(10):
        batch = source.batch(step, 16)
        text = np.where(batch["labels"] != IGNORE, batch["labels"], batch["input_ids"])
        for row, types in zip(text, batch["token_type_ids"], strict=True):
            a, b = (decode(row[(types == kind) & (row > 3)]) for kind in (0, 1))
            assert a.isascii() == b.isascii()
            seen += 1
    assert seen == 160


def test_full_rows_hold_the_documents_behind_one_another() -> None:
    learning = objective(**{"objective.next_sentence": False})
    assert learning.head == "masked_lm"
    words = learning.words
    batch = learning.batches(TRAIN, 0).batch(0, 8)
    assert set(batch) == {"input_ids", "labels", "masked_places"}
    assert batch["input_ids"].shape == (8, LENGTH)
    assert (batch["input_ids"][:, 0] == words.begin).all()
    assert (batch["input_ids"][:, -1] == words.separator).all()
    ids = np.where(batch["labels"] != IGNORE, batch["labels"], batch["input_ids"])
    separators = f" {words.separator} ".join(
        ["", *(" ".join(map(str, words.encode(document.text))) for document in TRAIN), ""]
    )
    for row in ids[:, 1:-1].tolist():
        assert " ".join(map(str, row)) in separators
    assert learning.tokens(batch) == 8 * LENGTH


@pytest.mark.parametrize("pairs", [True, False])
def test_batches_are_the_same_after_a_restart(pairs: bool) -> None:
    learning = objective(**{"objective.next_sentence": pairs})
    source = learning.batches(TRAIN, 3)
    batches = [source.batch(step, 16) for step in range(12)]  # more than an epoch
    fresh = learning.batches(TRAIN, 3)
    for step in (11, 5):
        again = fresh.batch(step, 16)
        assert again.keys() == batches[step].keys()
        assert all((again[name] == batches[step][name]).all() for name in again)
    assert (batches[0]["input_ids"][:, :8] != batches[1]["input_ids"][:, :8]).any()


def scored_one_by_one(learning: MaskedLM, network: Any, text: str) -> tuple[float, int, int]:
    """Sum of losses, masked tokens and their bytes, one window at a time, all logits computed."""
    tokens, sizes = learning.words.encode_with_bytes(text)
    draw = fixed_random(np.array(tokens))
    nll, masked, size = 0.0, 0, 0
    for start in range(0, len(tokens), LENGTH - 2):
        window = tokens[start : start + LENGTH - 2]
        row = np.array([[learning.begin, *window, learning.separator]])
        ids, labels = learning.masking.hide(row, np.array([len(window) + 2]), draw)
        logits = network(input_ids=torch.from_numpy(ids)).prediction_logits
        nll += functional.cross_entropy(
            logits[0], torch.from_numpy(labels[0]), reduction="sum"
        ).item()
        masked += int((labels != IGNORE).sum())
        size += int(sizes[start : start + LENGTH - 2][labels[0, 1:-1] != IGNORE].sum())
    return nll, masked, size


def test_scores_are_those_of_each_window_alone() -> None:
    learning = objective()
    network = model(learning)
    documents = [Document("e", ""), *HELD_OUT, Document("s", "Ben.")]
    network.train()
    scores = learning.score(network, documents)
    assert network.training
    network.eval()
    with torch.no_grad():
        expected = [scored_one_by_one(learning, network, d.text) for d in documents if d.text]
    np.testing.assert_allclose(scores.nll, [nll for nll, _, _ in expected], rtol=1e-5)
    assert scores.tokens.tolist() == [tokens for _, tokens, _ in expected]
    assert scores.bytes.tolist() == [size for _, _, size in expected]
    again = learning.score(network, documents[::-1])
    np.testing.assert_allclose(again.nll[::-1], scores.nll, rtol=1e-6)


def test_the_blocks_of_a_document_add_up() -> None:
    learning = objective()
    network = model(learning)
    whole = learning.score(network, HELD_OUT)
    blocks = learning.score(network, HELD_OUT, block_bytes=40)
    assert len(blocks.nll) > 3 * len(whole.nll)
    assert blocks.nll.sum() == pytest.approx(whole.nll.sum())
    assert blocks.tokens.sum() == whole.tokens.sum()
    assert blocks.bytes.sum() == whole.bytes.sum()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_model_learns_a_text(precision: str) -> None:
    changes = {"training.precision": precision, "training.learning_rate": 5e-3}
    learning = objective(**changes)
    network = model(learning)
    source, settings = learning.batches(TRAIN, 0), recipe(**changes).training
    trainer = Trainer(network, source, learning, settings, total_steps=80, seed=0)
    before = learning.score(network, HELD_OUT)
    first, last = trainer.run(40), trainer.run(40)
    after = learning.score(network, HELD_OUT)
    assert after.bits_per_byte < 0.75 * before.bits_per_byte
    assert last.losses["masked_token"] < first.losses["masked_token"]
    assert last.loss == pytest.approx(sum(last.losses.values()))


class OneBatch:
    """The first batch of another source at every step."""

    def __init__(self, source: Batches) -> None:
        self.source = source

    def batch(self, step: int, batch_size: int) -> Batch:
        return self.source.batch(0, batch_size)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_both_heads_learn_a_batch_by_heart(precision: str) -> None:
    learning = objective(**{"training.precision": precision})
    settings = recipe(**{"training.precision": precision}).training
    source = OneBatch(learning.batches(TRAIN, 0))
    trainer = Trainer(model(learning), source, learning, settings, total_steps=100, seed=0)
    trainer.run(95)
    losses = trainer.run(5).losses
    assert losses["masked_token"] < 0.5
    assert losses["next_sentence"] < 0.1


def test_next_sentence_accuracy_counts_right_answers() -> None:
    learning = objective()
    network = model(learning)
    head = network.cls.seq_relationship
    torch.nn.init.zeros_(head.weight)
    with torch.no_grad():
        head.bias.copy_(torch.tensor([0.0, 1.0]))  # always says random
    hits = learning.next_sentence_hits(network, TRAIN)
    assert hits.dtype == np.bool_ and len(hits) > 100
    said_random = learning.next_sentence_accuracy(network, TRAIN)
    assert said_random == hits.mean()
    assert abs(said_random - 0.5) < 5 * 0.5 / np.sqrt(len(hits))
    with torch.no_grad():
        head.bias.copy_(torch.tensor([1.0, 0.0]))
    assert learning.next_sentence_accuracy(network, TRAIN) == pytest.approx(1 - said_random)


def test_a_row_too_short_is_refused() -> None:
    with pytest.raises(RecipeError, match="raise it to 5"):
        objective(**{"training.sequence_length": 4})
    with pytest.raises(RecipeError, match="raise it to 3"):
        objective(**{"training.sequence_length": 2, "objective.next_sentence": False})
