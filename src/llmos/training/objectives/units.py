"""Losses of single predictions, gathered by document or by block of one."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from llmos.models.scoring import Scores


class Predictions(NamedTuple):
    """What was predicted of one document, (n,) each.

    nll: nats; bytes: UTF-8 bytes that were to be predicted; place: the byte of the document, from
    0, that decides in which block the prediction counts.
    """

    nll: npt.NDArray[np.float64]
    bytes: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]


def scores_by_unit(documents: Iterable[Predictions], block_bytes: int) -> Scores:
    """The sums by document, or by block of `block_bytes` bytes of one when > 0.

    Where nothing was predicted, there is no unit.
    """
    nll: list[float] = []
    tokens: list[int] = []
    sizes: list[int] = []
    for found in documents:
        block = found.place // block_bytes if block_bytes else np.zeros_like(found.place)
        for number in np.unique(block):
            chosen = block == number
            nll.append(float(found.nll[chosen].sum()))
            tokens.append(int(chosen.sum()))
            sizes.append(int(found.bytes[chosen].sum()))
    return Scores(np.array(nll), np.array(tokens, np.int64), np.array(sizes, np.int64))


def fixed_random(tokens: npt.NDArray[np.int64]) -> np.random.Generator:
    """Random numbers that a document's tokens alone decide."""
    digest = sha256(np.ascontiguousarray(tokens, "<i8").tobytes()).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], "<u8")))
