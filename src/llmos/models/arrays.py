"""A model's weights as one flat float32 vector, under Hugging Face names, tied weights once.

This is the form in which weights travel and are merged. The order is that of the sorted names, so
that the vector of a safetensors file and that of a PyTorch model agree without further agreement.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from llmos.errors import ProtocolError
from llmos.provenance.layout import Layout

if TYPE_CHECKING:
    import torch
    from torch import nn

Vector = npt.NDArray[np.float32]


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
