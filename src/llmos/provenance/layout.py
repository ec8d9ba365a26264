"""Names and shapes of the arrays that a run's ledger pins, in the order of their one vector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llmos.errors import ProtocolError


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the arrays in a vector, in its order."""

    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def size(self) -> int:
        """Number of values in the vector."""
        return sum(math.prod(shape) for _, shape in self.shapes)

    def to_json(self) -> list[list[Any]]:
        """`[[name, [sizes]], ...]`, for `from_json`."""
        return [[name, list(shape)] for name, shape in self.shapes]

    @classmethod
    def from_json(cls, value: Sequence[Sequence[Any]]) -> Layout:
        """The layout that `to_json` wrote. Raises `ProtocolError` for anything else."""
        try:
            shapes = [(name, tuple(shape)) for name, shape in value]
            names = [name for name, _ in shapes]
            sizes = [size for _, shape in shapes for size in shape]
            if (
                not all(isinstance(name, str) for name in names)
                or not all(type(size) is int and size >= 0 for size in sizes)
                or names != sorted(set(names))
            ):
                raise ValueError("names must be sorted, sizes whole numbers")
        except (TypeError, ValueError) as error:
            raise ProtocolError(f"not a layout of arrays ({error}): {str(value)[:80]}") from error
        return cls(tuple(shapes))

    def split(self, vector: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """The named arrays as views of `vector`."""
        if vector.shape != (self.size,):
            raise ProtocolError(f"{vector.shape} values do not fit a model of {self.size}")
        arrays, start = {}, 0
        for name, shape in self.shapes:
            count = math.prod(shape)
            arrays[name] = vector[start : start + count].reshape(shape)
            start += count
        return arrays
