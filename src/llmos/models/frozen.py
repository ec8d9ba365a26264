"""What training leaves as it is, as one vector: so a base travels once, and its folder stays home.

Names are those of the plain model, without low-rank additions, so that the vector can be compared
with a published file. Free of torch until a model is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmos.errors import ProtocolError
from llmos.models.arrays import Vector, copy_into, flatten, to_numpy, trained
from llmos.provenance.layout import Layout

if TYPE_CHECKING:
    import torch
    from torch import nn


def plain_name(name: str) -> str:
    """The name that a weight has in a model without low-rank additions."""
    return name.replace(".base_layer.", ".")


def frozen(model: nn.Module) -> dict[str, torch.Tensor]:
    """By plain name: the parameters that are not trained, and all else that a file of it holds."""
    taught = trained(model)
    aliases = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    kept: dict[str, torch.Tensor] = {
        name: values for name, values in model.state_dict().items() if name not in aliases
    }
    kept |= {name: p for name, p in model.named_parameters() if name not in taught}
    return {plain_name(name): tensor for name, tensor in kept.items()}


def get_frozen(model: nn.Module) -> Vector | None:
    """A copy of the values, float32, in the order of the sorted names; None where all is trained.

    Each tied weight is there once.
    """
    tensors = frozen(model)
    return flatten({name: to_numpy(t) for name, t in tensors.items()}) if tensors else None


def set_frozen(model: nn.Module, vector: Vector) -> None:
    """Copy `vector` into the model's own tensors. Raises `ProtocolError` where it does not fit."""
    tensors = frozen(model)
    layout = Layout(tuple(sorted((name, tuple(t.shape)) for name, t in tensors.items())))
    if layout.size != len(vector):
        raise ProtocolError(
            f"{len(vector)} frozen values do not fit a model that has {layout.size} of them"
        )
    for name, values in layout.split(vector).items():
        copy_into(tensors[name], values)
