"""AdamW and Muon against their algorithms in NumPy, float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForPreTraining,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForSequenceClassification,
)

from llmos.recipe import KEYS, TrainingSection
from llmos.training.optimizers import OPTIMIZERS, adamw, muon

SETTINGS = TrainingSection(learning_rate=3e-3, beta1=0.8, beta2=0.9, weight_decay=0.3)


class Small(nn.Module):
    """One parameter of each kind that a language model has."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4)
        self.embedding = nn.Embedding(5, 4)
        self.linear = nn.Linear(4, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.linear(self.norm(self.embedding(tokens)))
        return out


def only(optimizers: list[torch.optim.Optimizer]) -> torch.optim.Optimizer:
    (optimizer,) = optimizers
    return optimizer


def test_the_optimizers_are_those_of_the_recipe() -> None:
    assert set(OPTIMIZERS) == set(KEYS["training.optimizer"].about.choices)


def test_only_matrices_and_embeddings_decay() -> None:
    model = Small()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decay = {
        names[id(parameter)]: group["weight_decay"]
        for group in only(adamw(model, SETTINGS)).param_groups
        for parameter in group["params"]
    }
    assert decay == {
        "norm.weight": 0.0,
        "norm.bias": 0.0,
        "embedding.weight": 0.3,
        "linear.weight": 0.3,
        "linear.bias": 0.0,
    }


def test_without_gradients_weights_shrink_by_decay_alone() -> None:
    model = Small()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = only(adamw(model, SETTINGS))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        factor = 1 - 3e-3 * 0.3 if parameter.ndim >= 2 else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * factor)


@pytest.mark.parametrize("seed", [0, 1])
def test_adamw_is_algorithm_2_of_the_paper(seed: int) -> None:
    """Loshchilov & Hutter 2019, Algorithm 2 (decoupled decay times the learning rate)."""
    torch.manual_seed(seed)
    model = Small()
    optimizer = only(adamw(model, SETTINGS))
    rate, beta1, beta2, decay, epsilon = 3e-3, 0.8, 0.9, 0.3, 1e-8
    weights = {n: p.detach().double().numpy().copy() for n, p in model.named_parameters()}
    first = {n: np.zeros_like(w) for n, w in weights.items()}
    second = {n: np.zeros_like(w) for n, w in weights.items()}
    for step in range(1, 6):
        model(torch.randint(0, 5, (2, 6))).square().mean().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            g = parameter.grad.double().numpy()
            first[name] = beta1 * first[name] + (1 - beta1) * g
            second[name] = beta2 * second[name] + (1 - beta2) * g**2
            m = first[name] / (1 - beta1**step)
            v = second[name] / (1 - beta2**step)
            shrink = decay * weights[name] if weights[name].ndim >= 2 else 0.0
            weights[name] = weights[name] - rate * (m / (np.sqrt(v) + epsilon) + shrink)
        optimizer.step()
        optimizer.zero_grad()
        for name, parameter in model.named_parameters():
            np.testing.assert_allclose(
                parameter.detach().numpy(), weights[name], rtol=1e-5, atol=1e-6, err_msg=name
            )


@pytest.mark.parametrize("make", [adamw, muon])
def test_frozen_weights_are_no_optimizer_s(make: Any) -> None:
    model = Small()
    model.embedding.requires_grad_(False)
    model.linear.weight.requires_grad_(False)
    held = {id(p) for o in make(model, SETTINGS) for g in o.param_groups for p in g["params"]}
    assert held == {id(p) for p in (model.norm.weight, model.norm.bias, model.linear.bias)}


# Muon --------------------------------------------------------------------------------------------

MUON = replace(SETTINGS, optimizer="muon", muon_momentum=0.7)
Matrix = npt.NDArray[np.float64]


class Blocks(Small):
    """A tall, a square and a wide matrix besides, in blocks."""

    def __init__(self) -> None:
        super().__init__()
        matrices = nn.Linear(4, 24), nn.Linear(24, 24, bias=False), nn.Linear(24, 4)
        self.blocks = nn.ModuleList(nn.ModuleDict({"matrix": matrix}) for matrix in matrices)


def held_by(optimizer: torch.optim.Optimizer, model: nn.Module) -> set[str]:
    mine = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return {name for name, p in model.named_parameters() if id(p) in mine}


def test_muon_takes_the_matrices_of_the_blocks_and_adamw_all_else() -> None:
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=9, n_positions=8, n_embd=4, n_layer=2, n_head=2))
    matrices, rest = (held_by(optimizer, gpt2) for optimizer in muon(gpt2, MUON))
    kinds = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    assert matrices == {f"transformer.h.{n}.{kind}.weight" for n in (0, 1) for kind in kinds}
    assert matrices | rest == {name for name, _ in gpt2.named_parameters()}
    assert not matrices & rest
    assert "transformer.wte.weight" in rest and "transformer.wpe.weight" in rest


def test_muon_leaves_tables_and_heads_to_adamw() -> None:
    sizes = {"vocab_size": 9, "hidden_size": 4, "num_attention_heads": 2, "intermediate_size": 8}
    bert = BertForPreTraining(BertConfig(num_hidden_layers=1, **sizes))
    matrices, rest = (held_by(optimizer, bert) for optimizer in muon(bert, MUON))
    layer = "bert.encoder.layer.0"
    attention = [f"attention.self.{kind}" for kind in ("query", "key", "value")]
    inside = [*attention, "attention.output.dense", "intermediate.dense", "output.dense"]
    assert matrices == {f"{layer}.{kind}.weight" for kind in inside}
    heads = ("bert.pooler.dense", "cls.seq_relationship", "cls.predictions.transform.dense")
    assert {f"{name}.weight" for name in heads} < rest

    t5 = T5ForSequenceClassification(
        T5Config(vocab_size=9, d_model=4, d_kv=2, d_ff=8, num_layers=1, num_heads=2)
    )
    matrices, rest = (held_by(optimizer, t5) for optimizer in muon(t5, MUON))
    # Queries, keys, values, output: once in the encoder, twice in the decoder; and the rest.
    assert len(matrices) == 3 * 4 + 2 * 2
    assert all(".block.0." in name for name in matrices)
    assert not [name for name in matrices if "relative_attention_bias" in name]
    assert "classification_head.out_proj.weight" in rest


def newton_schulz(matrix: Matrix) -> Matrix:
    """Jordan et al. 2024: five steps of X <- aX + b(XX')X + c(XX')^2 X, wide side last."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / max(np.linalg.norm(x), 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


@pytest.mark.parametrize(("arithmetic", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.03)])
def test_five_steps_equal_muon_in_float64(
    monkeypatch: pytest.MonkeyPatch, arithmetic: str, tolerance: float
) -> None:
    """Muon with Nesterov momentum and Liu et al.'s 0.2 sqrt(max(A, B)); AdamW beside it."""
    if arithmetic == "float32":
        # It orthogonalises in bfloat16; in float32 the formula shows to the last digits.
        monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    torch.manual_seed(3)
    model, twin = Blocks(), Blocks()
    twin.load_state_dict(model.state_dict())
    start = {n: p.detach().double().numpy().copy() for n, p in model.named_parameters()}
    optimizers = muon(model, MUON)
    matrices = held_by(optimizers[0], model)
    assert matrices == {f"blocks.{number}.matrix.weight" for number in range(3)}
    rate, decay, momentum = 3e-3, 0.3, 0.7
    weights = {name: start[name].copy() for name in matrices}
    buffers = {name: np.zeros_like(w) for name, w in weights.items()}
    adam = torch.optim.AdamW(
        [p for n, p in sorted(twin.named_parameters()) if n not in matrices],
        lr=rate,
        betas=(0.8, 0.9),
        weight_decay=0.0,
    )
    for _ in range(5):
        for (name, parameter), same in zip(
            model.named_parameters(), twin.parameters(), strict=True
        ):
            parameter.grad = torch.randn_like(parameter)
            same.grad = parameter.grad.clone()
            if name in matrices:
                g = parameter.grad.double().numpy()
                buffers[name] = momentum * buffers[name] + g
                step = newton_schulz(g + momentum * buffers[name])
                scale = 0.2 * np.sqrt(max(g.shape))
                weights[name] = weights[name] * (1 - rate * decay) - rate * scale * step
        with torch.no_grad():  # these decay, as under AdamW alone
            twin.embedding.weight.mul_(1 - rate * decay)
            twin.linear.weight.mul_(1 - rate * decay)
        adam.step()
        for optimizer in optimizers:
            optimizer.step()
    others = dict(twin.named_parameters())
    for name, parameter in model.named_parameters():
        found = parameter.detach().double().numpy() - start[name]
        if name in matrices:
            expected = weights[name] - start[name]
            error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
            assert error < tolerance, name
        else:
            torch.testing.assert_close(parameter.detach(), others[name].detach())
