"""The causal objective equals transformers' own loss."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from llmos.recipe import KEYS
from llmos.training.objectives import OBJECTIVES
from llmos.training.objectives.causal_lm import causal_lm_loss

torch.set_num_threads(1)  # over models this small, threads only wait for one another


def model(family: str) -> Any:
    torch.manual_seed(4)
    if family == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=1, n_head=2)
        ).eval()
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=50,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
        )
    ).eval()


def rows(sequences: int, tokens: int) -> torch.Tensor:
    return torch.randint(0, 50, (sequences, tokens), generator=torch.Generator().manual_seed(5))


def test_the_objectives_are_those_of_the_recipe() -> None:
    assert set(OBJECTIVES) == set(KEYS["objective.name"].about.choices)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("shape", [(1, 2), (3, 9), (2, 16)])
def test_the_loss_and_its_gradient_are_those_of_transformers(
    family: str, shape: tuple[int, int]
) -> None:
    ours = model(family)
    theirs = copy.deepcopy(ours)
    batch = rows(*shape)
    loss = causal_lm_loss(ours, batch)
    # With labels, transformers shifts by itself; it sees the last token, but predicts nothing of it
    expected = theirs(input_ids=batch, labels=batch).loss
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    loss.backward()
    expected.backward()
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert a.grad is not None
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_the_loss_is_a_mean_over_tokens_in_nats() -> None:
    network = model("gpt2")
    torch.nn.init.zeros_(network.transformer.wte.weight)  # then all tokens are equally likely
    assert causal_lm_loss(network, rows(3, 7)).item() == pytest.approx(3.912023)  # ln 50


def test_a_row_may_fill_the_context() -> None:
    # T + 1 = 17 tokens in a context of 16: only 16 are inputs.
    assert causal_lm_loss(model("gpt2"), rows(1, 17)).isfinite()
