"""Strategies: how updates are merged, over NumPy arrays only. A new one is a file and a line."""

from __future__ import annotations

from collections.abc import Callable

from llmos.federation.strategies.base import Strategy
from llmos.federation.strategies.diloco import DiLoCo
from llmos.federation.strategies.fedavg import FedAvg

STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "diloco": DiLoCo,
    "fedavg": FedAvg,
}
