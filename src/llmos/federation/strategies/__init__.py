"""Strategies: how updates are merged, over NumPy arrays only. A new one is a file and a line."""

from __future__ import annotations

from collections.abc import Callable

from llmos.federation.strategies.base import Strategy
from llmos.federation.strategies.diloco import DiLoCo
from llmos.federation.strategies.fedavg import FedAvg
from llmos.recipe import Recipe

STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "diloco": DiLoCo,
    "fedavg": FedAvg,
}


def make_strategy(recipe: Recipe) -> Strategy:
    """The recipe's strategy with its settings."""
    aggregation = recipe.aggregation
    if aggregation.strategy == "diloco":
        return STRATEGIES["diloco"](
            learning_rate=aggregation.outer_learning_rate, momentum=aggregation.outer_momentum
        )
    return STRATEGIES[aggregation.strategy]()
