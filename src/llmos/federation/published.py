"""Whether published files hold the weights that a run ended with, bit for bit. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping

from llmos.models.arrays import Vector, flatten, vector_to_bytes
from llmos.models.lora import A, B, adapter_name, low_rank_sum
from llmos.provenance.layout import Layout

Arrays = Mapping[str, Vector]


def holds_model(found: Arrays, weights: Arrays, frozen: Vector, scale: float) -> bool:
    """Whether `found` are the trained `weights` and the frozen ones, additions added to these.

    `scale` is that of low-rank additions.
    """
    rest = _frozen_arrays(found, weights, frozen)
    if rest is None:
        return False
    values = {**{n: array for n, array in weights.items() if ".lora_" not in n}, **rest}
    for name in (n for n in weights if n.endswith(A)):
        layer = name.removesuffix(A)
        added = low_rank_sum(weights[name], weights[layer + B], scale)
        before, after = values[f"{layer}.weight"], found[f"{layer}.weight"]
        # GPT-2 keeps its weights the other way round, and a square one does not say so.
        sums = [before + d for d in (added, added.T) if d.shape == before.shape]
        if not any(_same(total, after) for total in sums):
            return False
        values[f"{layer}.weight"] = after
    return _all_same(found, values)


def holds_adapter(found: Arrays, weights: Arrays, frozen: Vector, model: Arrays) -> bool:
    """Whether `found` are the trained `weights`, and maybe frozen ones; `model` has all names."""
    values = {adapter_name(name): array for name, array in weights.items()}
    rest = _frozen_arrays(model, weights, frozen) or {}
    more = {adapter_name(name): array for name, array in rest.items()}
    return _all_same(found, {**values, **{n: more[n] for n in found if n in more}})


def _frozen_arrays(model: Arrays, weights: Arrays, frozen: Vector) -> dict[str, Vector] | None:
    """By name what is not trained; None where `model` has no place for just that."""
    names = sorted(set(model) - set(weights))
    layout = Layout(tuple((name, model[name].shape) for name in names))
    return layout.split(frozen) if layout.size == frozen.size else None


def _all_same(found: Arrays, values: Arrays) -> bool:
    return found.keys() == values.keys() and _same(flatten(found), flatten(values))


def _same(a: Vector, b: Vector) -> bool:
    return vector_to_bytes(a) == vector_to_bytes(b)
