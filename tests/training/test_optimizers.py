"""AdamW against the paper's algorithm in NumPy, float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from llmos.recipe import KEYS, TrainingSection
from llmos.training.optimizers import OPTIMIZERS, adamw

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


def test_the_optimizers_are_those_of_the_recipe() -> None:
    assert set(OPTIMIZERS) == set(KEYS["training.optimizer"].about.choices)


def test_only_matrices_and_embeddings_decay() -> None:
    model = Small()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decay = {
        names[id(parameter)]: group["weight_decay"]
        for group in adamw(model, SETTINGS).param_groups
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
    optimizer = adamw(model, SETTINGS)
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
    optimizer = adamw(model, SETTINGS)
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
