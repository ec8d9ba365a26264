"""A model's weights as one flat float32 vector, under Hugging Face names, tied weights once.

This is the form in which weights travel and are merged. The order is that of the sorted names, so
that the vector of a safetensors file and that of a PyTorch model agree without further agreement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from llmos.errors import ProtocolError

if TYPE_CHECKING:
    import torch
    from torch import nn

Vector = npt.NDArray[np.float32]


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

    def split(self, vector: Vector) -> dict[str, Vector]:
        """The named arrays as views of `vector`."""
        if vector.shape != (self.size,):
            raise ProtocolError(f"{vector.shape} values do not fit a model of {self.size}")
        arrays, start = {}, 0
        for name, shape in self.shapes:
            count = math.prod(shape)
            arrays[name] = vector[start : start + count].reshape(shape)
            start += count
        return arrays


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training changes, by name; frozen ones are left out."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def layout_of(model: nn.Module) -> Layout:
    """The layout of a PyTorch model's trained parameters (each tied weight once, first name)."""
    return Layout(tuple(sorted((n, tuple(p.shape)) for n, p in trained(model).items())))


def to_numpy(tensor: torch.Tensor) -> Vector:
    """The values as float32; of a sharded tensor, all of them (every process must call this)."""
    whole = getattr(tensor, "full_tensor", None)
    return cast(Vector, (whole() if whole else tensor).detach().float().cpu().numpy())


def copy_into(tensor: torch.Tensor, array: npt.NDArray[Any]) -> None:
    """Copy `array` into the tensor's own memory, whose alignment so stays."""
    import torch

    # A copy, because a vector read from bytes is not writable.
    values = torch.from_numpy(array.copy())
    mesh = getattr(tensor, "device_mesh", None)
    if mesh is not None:  # sharded over processes
        from torch.distributed.tensor import DTensor, distribute_tensor

        assert isinstance(tensor, DTensor)
        values = distribute_tensor(values.to(tensor.device), mesh, tensor.placements)
    with torch.no_grad():
        tensor.copy_(values)


def flatten(arrays: Mapping[str, npt.NDArray[Any]]) -> Vector:
    """The vector of named arrays, in the order of the sorted names."""
    return np.concatenate(
        [arrays[n].astype(np.float32, copy=False).ravel() for n in sorted(arrays)]
    )


def get_weights(model: nn.Module) -> Vector:
    """A copy of the model's trained weights as a vector of (parameters,) float32."""
    return flatten({name: to_numpy(p) for name, p in trained(model).items()})


def set_weights(model: nn.Module, vector: Vector) -> None:
    """Copy `vector` into the model's own tensors."""
    arrays = layout_of(model).split(vector)
    for name, parameter in trained(model).items():
        copy_into(parameter, arrays[name])


def vector_from_bytes(data: bytes, size: int) -> Vector:
    """The vector stored as little-endian float32. Raises `ProtocolError` for other sizes."""
    if len(data) != 4 * size:
        raise ProtocolError(
            f"{len(data)} bytes of weights, but the model has {size} float32 values"
        )
    return np.frombuffer(data, dtype="<f4").astype(np.float32, copy=False)


def vector_to_bytes(vector: Vector) -> bytes:
    """The vector as little-endian float32."""
    return vector.astype("<f4", copy=False).tobytes()
