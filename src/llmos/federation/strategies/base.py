"""What all strategies share: contributions, weights, and the weighted mean of updates.

A merge gives the same bits on every machine and in every order of arrival (decision 14): members
are taken in sorted order, arrays see only elementwise + - * / and sqrt in float64, scalars are
summed by `math.fsum`, and each result is rounded to float32 once. No BLAS, pow, exp or np.sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from llmos.errors import ProtocolError, RecipeError

Vector = npt.NDArray[np.float32]
State = dict[str, Vector]

CHUNK = 1 << 16
"""Values merged at a time: the float64 temporaries (512 kB each) fit a core's cache."""


@dataclass(frozen=True, eq=False)
class Contribution:
    """One member's part in a merge: its share `weight` and its `delta` (n,) = before - after."""

    member: str
    weight: float
    delta: Vector


class Strategy(Protocol):
    """A way to merge: a pure function of what it is given; `state` goes from round to round."""

    def merge(
        self, base: Vector, updates: Sequence[Contribution], state: State
    ) -> tuple[Vector, State]:
        """The next base (n,) and state; `{}` is the state before the first round.

        Without updates both come back unchanged. Raises `ProtocolError` for updates that do not
        fit `base`.
        """


def normalised_weights(counts: Mapping[str, int], weighting: str) -> dict[str, float]:
    """Each member's share in the merge, summing to 1: by its tokens, or the same for all.

    `counts` are the tokens that each member trained on (McMahan et al. 2017, arXiv 1602.05629,
    weight by examples; tokens are what a language model sees). Store the shares as `float.hex()`.
    """
    for member, count in counts.items():
        if count < 0:
            raise ProtocolError(f"{member} reports {count} tokens: refuse this update")
    members = sorted(counts)
    if weighting == "equal":
        return {member: 1.0 / len(members) for member in members}
    if weighting != "tokens":
        raise RecipeError(f"weighting {weighting!r} is unknown: choose 'tokens' or 'equal'")
    total = math.fsum(counts.values())
    if members and total == 0:
        raise ProtocolError("no member trained on any token: merge without them, or weight equally")
    return {member: counts[member] / total for member in members}


def pseudo_gradient(
    base: Vector, updates: Sequence[Contribution]
) -> Iterator[tuple[slice, npt.NDArray[np.float64]]]:
    """The weighted sum of the deltas, chunk by chunk: (where, float64 values).

    Raises `ProtocolError` for a member given twice, another shape or dtype than `base`, weights
    that are negative or add up to more than 1, and deltas that are not finite.
    """
    ordered = sorted(updates, key=lambda update: update.member)
    _check(base, ordered)
    for start in range(0, len(base), CHUNK):
        part = slice(start, min(len(base), start + CHUNK))
        total = np.zeros(part.stop - part.start, np.float64)
        for update in ordered:
            delta = update.delta[part]
            finite = np.isfinite(delta)
            if not finite.all():
                position = int(finite.argmin())
                raise ProtocolError(
                    f"value {start + position} of {update.member}'s update is {delta[position]}: "
                    "leave that update out"
                )
            total += delta.astype(np.float64) * update.weight
        yield part, total


def to_float32(values: npt.NDArray[np.float64], start: int) -> Vector:
    """Round a chunk that begins at value `start`; `ProtocolError` where float32 overflows."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    finite = np.isfinite(rounded)
    if not finite.all():
        position = int(finite.argmin())
        raise ProtocolError(
            f"the merge makes value {start + position} {values[position]:g}: stop the run and look "
            "for a member whose training diverged"
        )
    return rounded


def _check(base: Vector, ordered: Sequence[Contribution]) -> None:
    if base.dtype != np.float32 or base.ndim != 1:
        raise ProtocolError(
            f"the base is {base.dtype} of shape {base.shape}: give one flat float32 vector"
        )
    for before, update in zip([None, *ordered], ordered, strict=False):
        if before is not None and before.member == update.member:
            raise ProtocolError(f"{update.member} is in this merge twice: keep one of its updates")
        if update.delta.dtype != np.float32 or update.delta.shape != base.shape:
            raise ProtocolError(
                f"{update.member}'s update is {update.delta.dtype} of shape {update.delta.shape}, "
                f"the base is float32 of shape {base.shape}: leave that update out"
            )
        if not (math.isfinite(update.weight) and update.weight >= 0):
            raise ProtocolError(f"{update.member}'s weight is {update.weight}: use a share of 1")
    total = math.fsum(update.weight for update in ordered)
    if total > 1 + 1e-9:
        raise ProtocolError(f"the weights add up to {total}, not 1: use normalised_weights")
