"""Scores against brute force: every token scored once, in float64, one document at a time."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from llmos.models.bpe import train_bpe
from llmos.models.pieces import count_pieces
from llmos.models.scoring import Scores, score_texts, token_losses
from llmos.models.tokenizer import SPECIAL_TOKENS, token_byte_lengths

Losses = npt.NDArray[np.float64]

torch.set_num_threads(1)  # over models this small, threads only wait for one another

CONTEXT = 16
VOCABULARY = 300
BEGIN = 0


def model(family: str) -> Any:
    """A random model with weights large enough that every token has another loss."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        if family == "gpt2":
            # In training mode its dropout would change every loss.
            return GPT2LMHeadModel(
                GPT2Config(
                    vocab_size=VOCABULARY,
                    n_positions=CONTEXT,
                    n_embd=16,
                    n_layer=1,
                    n_head=2,
                    initializer_range=0.5,
                    resid_pdrop=0.5,
                )
            )
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=VOCABULARY,
                max_position_embeddings=CONTEXT,
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                initializer_range=0.5,
            )
        )


MODELS = {family: model(family) for family in ("gpt2", "llama")}
EXACT = {family: copy.deepcopy(m).double().eval() for family, m in MODELS.items()}


@torch.no_grad()
def brute_force(family: str, tokens: Sequence[int], length: int, stride: int) -> Losses:
    """The loss of each token in float64, one window at a time.

    The window of a token is the first of those that begin at 0, stride, 2 stride, ... to hold it.
    """
    text = [BEGIN, *tokens]
    losses = np.full(len(tokens), np.nan)
    for start in range(0, len(tokens), stride):
        window = torch.tensor([text[start : start + length]])
        logs = EXACT[family](input_ids=window).logits[0].log_softmax(-1)
        for position in range(start, min(start + length, len(tokens))):
            if np.isnan(losses[position]):
                losses[position] = -logs[position - start, tokens[position]]
    return losses


def document(size: int, seed: int = 0) -> npt.NDArray[np.int64]:
    return np.random.default_rng([size, seed]).integers(1, VOCABULARY, size)


def losses_of(family: str, documents: Sequence[Any], **options: Any) -> list[Losses]:
    return token_losses(MODELS[family], documents, **{"begin": BEGIN, "length": CONTEXT, **options})


@pytest.mark.parametrize("family", MODELS)
def test_documents_within_the_window_have_their_full_context(family: str) -> None:
    documents = [document(size) for size in (1, 2, 7, CONTEXT - 1, CONTEXT)]
    for tokens, losses in zip(documents, losses_of(family, documents), strict=True):
        # The plain definition: -log p(token | begin, all tokens before it), in one pass.
        inputs = torch.tensor([[BEGIN, *tokens[:-1]]])
        with torch.no_grad():
            logs = EXACT[family](input_ids=inputs).logits[0].log_softmax(-1).numpy()
        expected: Losses = -logs[np.arange(len(tokens)), tokens]
        np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-5)
        windowed = brute_force(family, tokens.tolist(), CONTEXT, CONTEXT)
        np.testing.assert_allclose(windowed, expected)
        assert np.ptp(expected) > 0.1 or len(tokens) == 1  # a wrong token would show


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("stride", [0, 1, 3, 8, 15, 16, 40])
def test_long_documents_are_scored_in_windows(family: str, stride: int) -> None:
    documents = [document(size) for size in (17, 32, 41)]
    step = min(stride or CONTEXT, CONTEXT)
    for tokens, losses in zip(documents, losses_of(family, documents, stride=stride), strict=True):
        expected = brute_force(family, tokens.tolist(), CONTEXT, step)
        np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 40), max_size=5),
    st.integers(1, CONTEXT),
    st.integers(0, CONTEXT),
    st.integers(1, 100),
)
def test_the_composition_of_batches_does_not_matter(
    sizes: list[int], length: int, stride: int, batch_tokens: int
) -> None:
    documents = [document(size, number) for number, size in enumerate(sizes)]
    together = losses_of("gpt2", documents, length=length, stride=stride, batch_tokens=batch_tokens)
    assert [len(losses) for losses in together] == sizes
    for tokens, losses in zip(documents, together, strict=True):
        (alone,) = losses_of("gpt2", [tokens], length=length, stride=stride)
        np.testing.assert_allclose(losses, alone, rtol=1e-5, atol=1e-5)
        assert (losses > 0).all()  # none was left out: no token of this model is certain
        exact = brute_force("gpt2", tokens.tolist(), length, min(stride or length, length))
        np.testing.assert_allclose(losses, exact, rtol=1e-5, atol=1e-5)


class Counting(torch.nn.Module):
    """Stands in for a model: every token is as likely as every other; counts what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.rows: list[list[int]] = []

    def forward(self, input_ids: torch.Tensor, use_cache: bool) -> Any:
        self.rows += input_ids.tolist()
        logits = torch.zeros(*input_ids.shape, VOCABULARY)
        return type("Output", (), {"logits": logits})


def test_every_token_is_scored_exactly_once() -> None:
    documents = [document(size) for size in (0, 1, 16, 17, 33, 64)]
    for stride in (0, 1, 5, 16):
        losses = token_losses(Counting(), documents, begin=0, length=16, stride=stride)  # type: ignore[arg-type]
        for tokens, loss in zip(documents, losses, strict=True):
            np.testing.assert_allclose(loss, np.log(VOCABULARY) * np.ones(len(tokens)), rtol=1e-6)


def test_no_window_is_longer_than_the_context_and_none_is_wasted() -> None:
    counting = Counting()
    token_losses(counting, [document(40)], begin=0, length=16)  # type: ignore[arg-type]
    assert [len(row) for row in counting.rows] == [16, 16, 16]
    counting = Counting()
    token_losses(counting, [document(40)], begin=0, length=16, stride=12)  # type: ignore[arg-type]
    assert len(counting.rows) == 3  # 0 to 16, 12 to 28, 24 to 40


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_model_is_restored_and_dropout_is_off(training: bool) -> None:
    network = MODELS["gpt2"].train(training)
    first, again = losses_of("gpt2", [document(9)]), losses_of("gpt2", [document(9)])
    assert network.training is training
    assert all(module.training is training for module in network.modules())
    np.testing.assert_array_equal(first, again)
    assert all(p.grad is None for p in network.parameters())


def test_the_mode_is_restored_after_a_failure() -> None:
    network = MODELS["gpt2"].train()
    with pytest.raises(IndexError):
        losses_of("gpt2", [np.array([VOCABULARY + 5, 1])])
    assert network.training


# Texts

TEXTS = [
    "Die Bibliothek zählt ihre Bücher. " * 6,
    "模型训练完成以后，各方得到同一个模型。" * 4,
    "x",
    "<|endoftext|>spelled out<|endoftext|>",
    "🌱\n\n" * 9,
]
TOKENIZER = train_bpe(count_pieces(TEXTS * 5), VOCABULARY, SPECIAL_TOKENS)
TOKENIZER.encode_special_tokens = True
LENGTHS = token_byte_lengths(TOKENIZER)


def encode(text: str) -> list[int]:
    return list(TOKENIZER.encode(text, add_special_tokens=False).ids)


def encode_with_bytes(text: str) -> tuple[list[int], npt.NDArray[np.int64]]:
    tokens = encode(text)
    return tokens, LENGTHS[tokens].astype(np.int64)


def scored(texts: Sequence[str], **options: Any) -> Scores:
    return score_texts(
        MODELS["gpt2"], texts, encode_with_bytes, begin=BEGIN, length=CONTEXT, **options
    )


def test_a_text_is_a_unit_of_summed_losses() -> None:
    scores = scored(TEXTS)
    assert scores.bytes.tolist() == [len(text.encode()) for text in TEXTS]
    assert scores.tokens.tolist() == [len(encode(text)) for text in TEXTS]
    for text, nll in zip(TEXTS, scores.nll, strict=True):
        assert nll == pytest.approx(brute_force("gpt2", encode(text), CONTEXT, CONTEXT).sum())


@pytest.mark.parametrize("block_bytes", [1, 7, 50, 10_000])
@pytest.mark.parametrize("text", TEXTS)
def test_blocks_add_up_to_their_document(text: str, block_bytes: int) -> None:
    whole, blocks = scored([text]), scored([text], block_bytes=block_bytes)
    assert blocks.bytes.sum() == whole.bytes[0] == len(text.encode())
    assert blocks.tokens.sum() == whole.tokens[0]
    assert blocks.nll.sum() == pytest.approx(whole.nll[0])
    # A block ends with the token that reaches its end, so no block is off by more than a token.
    longest = int(LENGTHS.max())
    assert (abs(blocks.bytes[:-1] - block_bytes) <= longest).all()
    assert len(blocks.nll) <= -(-len(text.encode()) // block_bytes)


def test_blocks_do_not_cross_texts() -> None:
    both = scored([TEXTS[0], TEXTS[1]], block_bytes=60)
    first, second = (scored([text], block_bytes=60) for text in TEXTS[:2])
    assert both.bytes.tolist() == [*first.bytes, *second.bytes]
    np.testing.assert_allclose(both.nll, [*first.nll, *second.nll], rtol=1e-5)


def test_a_special_token_at_the_start_is_no_block_of_its_own() -> None:
    special = train_bpe(count_pieces(TEXTS * 5), VOCABULARY, SPECIAL_TOKENS)
    tokens = special.encode("<|endoftext|>spelled out").ids
    assert tokens[0] == 0
    scores = score_texts(
        MODELS["gpt2"],
        ["<|endoftext|>spelled out"],
        lambda text: (tokens, LENGTHS[tokens].astype(np.int64)),
        begin=BEGIN,
        length=CONTEXT,
        block_bytes=1000,
    )
    assert scores.bytes.tolist() == [len("spelled out")]


def test_an_empty_text_is_no_unit() -> None:
    assert scored(["", "x", ""]).bytes.tolist() == [1]
    assert scored(["", ""]).sums() == {"nll_nats": 0.0, "tokens": 0, "bytes": 0, "units": 0}


def test_the_figures_follow_from_the_sums() -> None:
    scores = Scores(np.log([2.0**30, 2.0**10]), np.array([8, 2]), np.array([16, 4]))
    assert scores.bits_per_byte == pytest.approx(40 / 20)
    assert scores.perplexity == pytest.approx(2.0**4)
    assert scores.sums() == {
        "nll_nats": pytest.approx(40 * np.log(2)),
        "tokens": 10,
        "bytes": 20,
        "units": 2,
    }
