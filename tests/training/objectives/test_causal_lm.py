"""The causal objective equals transformers' own loss, and keeps to documents if told to."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from llmos.data.batches import IGNORE
from llmos.data.documents import Document
from llmos.data.packing import PackedSequences, pack
from llmos.models.bpe import train_bpe
from llmos.models.pieces import count_pieces
from llmos.models.tokenizer import SPECIAL_TOKENS
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import KEYS, Recipe
from llmos.training.objectives import OBJECTIVES, make_objective
from llmos.training.objectives.causal_lm import CausalLM, within_documents

torch.set_num_threads(1)  # over models this small, threads only wait for one another

TEXTS = [f"{n} members {'wait ' * (n % 7)}{n * n} 模型训练" for n in range(30)]
WORDS = Vocabulary.of(train_bpe(count_pieces(TEXTS * 3), 280, SPECIAL_TOKENS))


def objective(**settings: Any) -> CausalLM:
    values = {f"training.{key}": value for key, value in settings.items()}
    made = make_objective(Recipe(name="causal").with_values(values), WORDS)
    assert isinstance(made, CausalLM)
    return made


def model(family: str, vocabulary: int = 50, context: int = 16, attention: str = "sdpa") -> Any:
    torch.manual_seed(4)
    common: dict[str, Any] = {
        "vocab_size": vocabulary,
        "attn_implementation": attention,
        "initializer_range": 0.3,  # so that what a token attends to matters
    }
    if family == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(n_positions=context, n_embd=16, n_layer=2, n_head=2, **common)
        ).eval()
    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=context,
            **common,
        )
    ).eval()


def rows(sequences: int, tokens: int) -> torch.Tensor:
    return torch.randint(0, 50, (sequences, tokens), generator=torch.Generator().manual_seed(5))


def batch_of(runs: torch.Tensor) -> dict[str, torch.Tensor]:
    """The batch of runs of T + 1 tokens."""
    return {"input_ids": runs[:, :-1], "labels": runs[:, 1:]}


def loss_of(network: Any, runs: torch.Tensor) -> torch.Tensor:
    """The mean loss, as it is minimised: the sum over what is counted."""
    tried, batch = objective(), batch_of(runs)
    losses = tried.losses(network, batch)
    counts = tried.counts({name: tensor.numpy() for name, tensor in batch.items()})
    assert losses.keys() == counts.keys() == {"token"}
    return losses["token"] / counts["token"]


def test_the_objectives_are_those_of_the_recipe() -> None:
    assert set(OBJECTIVES) == set(KEYS["objective.name"].about.choices)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("shape", [(1, 2), (3, 9), (2, 16)])
def test_the_loss_and_its_gradient_are_those_of_transformers(
    family: str, shape: tuple[int, int]
) -> None:
    ours = model(family)
    theirs = copy.deepcopy(ours)
    runs = rows(*shape)
    loss = loss_of(ours, runs)
    # With labels, transformers shifts by itself; it sees the last token, but predicts nothing of it
    expected = theirs(input_ids=runs, labels=runs).loss
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    loss.backward()
    expected.backward()
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert a.grad is not None
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_the_loss_is_a_mean_over_tokens_in_nats() -> None:
    network = model("gpt2")
    torch.nn.init.zeros_(network.transformer.wte.weight)  # then all tokens are equally likely
    assert loss_of(network, rows(3, 7)).item() == pytest.approx(3.912023)  # ln 50


def test_a_row_may_fill_the_context() -> None:
    # T + 1 = 17 tokens in a context of 16: only 16 are inputs.
    assert loss_of(model("gpt2"), rows(1, 17)).isfinite()


@pytest.mark.parametrize("parts", [[1, 1, 1, 1], [3, 1]])
def test_the_sums_of_parts_add_up_to_the_batch(parts: list[int]) -> None:
    network, batch = model("llama"), batch_of(rows(4, 9))
    whole = objective().losses(network, batch)["token"]
    pieces = zip(*(tensor.split(parts) for tensor in batch.values()), strict=True)
    found = [
        objective().losses(network, dict(zip(batch, part, strict=True)))["token"] for part in pieces
    ]
    torch.testing.assert_close(torch.stack(found).sum(), whole)


def test_places_without_a_label_are_neither_counted_nor_minimised() -> None:
    network, batch = model("gpt2"), batch_of(rows(2, 9))
    batch["labels"] = batch["labels"].clone()
    batch["labels"][0, 3:] = IGNORE
    tried = objective()
    logits = network(input_ids=batch["input_ids"]).logits
    kept = [*zip([0] * 3, range(3), strict=True), *zip([1] * 8, range(8), strict=True)]
    expected = -sum(logits[r, t].log_softmax(-1)[batch["labels"][r, t]] for r, t in kept)
    assert tried.counts({n: t.numpy() for n, t in batch.items()}) == {"token": 11}
    torch.testing.assert_close(tried.losses(network, batch)["token"], expected)


# Documents ---------------------------------------------------------------------------------------


def documents() -> list[Document]:
    return [Document(str(number), text) for number, text in enumerate(TEXTS)]


def test_batches_are_the_packed_documents() -> None:
    made = objective(sequence_length=20).batches(documents(), seed=9)
    encoded = [WORDS.encode(text) for text in TEXTS]
    expected = PackedSequences(pack(encoded, 0, 280), 20, seed=9)
    for step in range(5):
        found, same = made.batch(step, 4), expected.batch(step, 4)
        assert found.keys() == same.keys() == {"input_ids", "labels"}
        for name in same:
            np.testing.assert_array_equal(found[name], same[name])
        assert objective().counts(found) == {"token": 80} and objective().tokens(found) == 80


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_packed_documents_have_the_losses_of_each_alone(family: str, attention: str) -> None:
    """A forward pass for each document alone, from position 0, is the reference."""
    network = model(family, 280, 64, attention)
    plain = model(family, 280, 64, attention).double()
    tried = objective(document_attention=True, sequence_length=64)
    data = tried.batches(documents(), seed=2)
    arrays = data.batch(0, 3)
    batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
    expected, several = torch.zeros((), dtype=torch.float64), 0
    for row in range(3):
        ids = batch["document_ids"][row]
        several += len(ids.unique()) - 1
        for number in ids.unique():
            mine = ids == number
            inputs, labels = batch["input_ids"][row][mine], batch["labels"][row][mine]
            logits = plain(input_ids=inputs[None]).logits[0]
            # A document ends in its separator: that label is predicted from within.
            expected = expected + functional.cross_entropy(logits, labels, reduction="sum")
    assert several >= 3
    found = tried.losses(network, batch)["token"]
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)
    found.backward()
    expected.backward()
    for (name, a), b in zip(network.named_parameters(), plain.parameters(), strict=True):
        assert a.grad is not None and b.grad is not None
        torch.testing.assert_close(a.grad.double(), b.grad, rtol=1e-4, atol=1e-4, msg=name)
    # Without the option a token sees the documents before its own, and the loss is another.
    across = tried.losses(network, {n: t for n, t in batch.items() if n != "document_ids"})["token"]
    assert abs(across.item() - found.item()) > 0.1


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_in_bfloat16_nothing_overflows(family: str) -> None:
    network = model(family, 280, 64)
    tried = objective(document_attention=True, sequence_length=64)
    arrays = tried.batches(documents(), seed=2).batch(0, 3)
    batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
    exact = tried.losses(network, batch)["token"].item()
    for attention in ("eager", "sdpa"):
        network.set_attn_implementation(attention)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = tried.losses(network, batch)["token"]
        loss.backward()
        assert loss.item() == pytest.approx(exact, rel=0.02)
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_masks_and_positions_of_documents() -> None:
    ids = torch.tensor([[0, 0, 1, 2, 2]])
    found = within_documents({"document_ids": ids})
    assert found["position_ids"].tolist() == [[0, 1, 0, 0, 1]]
    seen = found["attention_mask"] == 0
    assert seen.shape == (1, 1, 5, 5)
    assert seen[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 1, 1],
    ]
    assert within_documents({"input_ids": ids}) == {}


# Scores ------------------------------------------------------------------------------------------


def test_a_text_s_score_is_its_loss_given_the_beginning() -> None:
    network = model("gpt2", 280, 64)
    texts = TEXTS[:4]
    scores = objective(sequence_length=64).score(network, documents()[:4])
    for text, nll, tokens, size in zip(texts, scores.nll, scores.tokens, scores.bytes, strict=True):
        ids = torch.tensor([[WORDS.end, *WORDS.encode(text)]])
        with torch.no_grad():
            mean = network(input_ids=ids, labels=ids).loss.item()
        assert nll == pytest.approx(mean * tokens, rel=1e-5)
        assert (tokens, size) == (ids.shape[1] - 1, len(text.encode()))
    blocks = objective(sequence_length=64).score(network, documents()[:4], block_bytes=10)
    assert len(blocks.nll) > 4 and blocks.nll.sum() == pytest.approx(scores.nll.sum(), rel=1e-5)
