"""A mixture of languages and sources, in shares that temperature or explicit weights decide.

The shares p_i ~ n_i^(1/T) of groups of n_i tokens are those of XLM-R (arXiv 1911.02116, 3.1, with
alpha = 1/T) and mT5 (arXiv 2010.11934, 3.2): T = 1 is proportional, a high T lifts the small ones.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from llmos.data.batches import Batch, Batches
from llmos.data.packing import JoinedTokens, PackedSequences, TokenRun, batch_of_rows
from llmos.errors import DataError, RecipeError
from llmos.recipe import DataSection

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

PERIOD = 1 << 16
"""Rows after which the turns of the groups repeat; shares are rounded to one in so many."""

UNKNOWN = "und"


class Group(NamedTuple):
    """What is mixed: the text of one language from one source; "" where it is not known."""

    language: str
    source: str

    @property
    def code(self) -> str:
        """The language as weights name it: "und" (ISO 639-2) where it is not known."""
        return self.language or UNKNOWN


def is_mixed(data: DataSection) -> bool:
    """Whether a recipe asks for other shares than the text has by itself."""
    return data.mixture_temperature != 1.0 or bool(data.mixture_weights)


def mix(
    groups: Mapping[Group, TokenRun],
    data: DataSection,
    length: int,
    seed: int,
    separator: int | None = None,
) -> Batches:
    """Batches of sequences from these groups, as the recipe's `data` mixes them.

    Where it does not, all groups are one text in the order given. Raises `DataError` where a group
    has no weight, or there is too little text.
    """
    if not is_mixed(data):
        runs = list(groups.values())
        tokens = runs[0] if len(runs) == 1 else JoinedTokens(runs)
        return PackedSequences(tokens, length, seed, separator)
    names = sorted(groups)
    shares = mixture_shares(
        names, [len(groups[name]) for name in names], data.mixture_temperature, weights_of(data)
    )
    read = [index for index, share in enumerate(shares) if share > 0]
    runs, shares, names = _long_enough(
        [groups[names[i]] for i in read], shares[read], [names[i] for i in read], length
    )
    streams = [
        PackedSequences(run, length, _seed_of(seed, name), separator)
        for run, name in zip(runs, names, strict=True)
    ]
    return streams[0] if len(streams) == 1 else Mixture(streams, shares)


def weights_of(data: DataSection) -> dict[str, float]:
    """The weights by language that a recipe states, such as "en=2". Raises `RecipeError`."""
    weights: dict[str, float] = {}
    for text in data.mixture_weights:
        language, _, weight = text.partition("=")
        if language in weights:
            raise RecipeError(
                f"data.mixture_weights names {language!r} twice: leave one of them out"
            )
        weights[language] = float(weight)
    return weights


def mixture_shares(
    groups: Sequence[Group],
    tokens: Sequence[int],
    temperature: float,
    weights: Mapping[str, float] | None = None,
) -> Floats:
    """The share of each group in the mixture, (groups,); they add up to 1.

    With `weights` each language has its own, divided by temperature among its sources.
    Raises `DataError` for a language that they do not name, or where none that they name is there.
    """
    # Of the largest, so that no power overflows.
    shares = (np.array(tokens, np.float64) / max(tokens)) ** (1 / temperature)
    if weights:
        codes = np.array([group.code for group in groups])
        present = sorted(set(codes.tolist()))
        lacking = [code for code in present if code not in weights]
        if lacking:
            raise DataError(
                f"data.mixture_weights has no weight for the language {lacking[0]!r} of the text: "
                f'add "{lacking[0]}=1", or 0 to leave it out'
            )
        if not any(weights[code] for code in present):
            raise DataError(
                f"data.mixture_weights are 0 for all languages of the text ({', '.join(present)}): "
                "give one of them a weight"
            )
        for code in present:
            shares[codes == code] *= weights[code] / shares[codes == code].sum()
    return np.asarray(shares / shares.sum())


def _long_enough(
    runs: list[TokenRun], shares: Floats, names: list[Group], length: int
) -> tuple[list[TokenRun], Floats, list[Group]]:
    """The groups, those shorter than a sequence joined to the shortest of the others."""
    order = sorted(range(len(runs)), key=lambda index: (len(runs[index]), names[index]))
    joined: list[TokenRun] = []
    kept_shares: list[float] = []
    kept_names: list[Group] = []
    for index in order:
        if joined and len(joined[-1]) < length + 1:
            joined[-1] = JoinedTokens([joined[-1], runs[index]])
            kept_shares[-1] += float(shares[index])
        else:
            joined.append(runs[index])
            kept_shares.append(float(shares[index]))
            kept_names.append(names[index])
    return joined, np.array(kept_shares), kept_names


def _seed_of(seed: int, group: Group) -> int:
    """A seed of 64 bits for the group's own order; `seed` has 32."""
    digest = sha256(f"llmos-mixture/{group.language}/{group.source}".encode()).digest()
    return seed | int.from_bytes(digest[:4], "big") << 32


@dataclass(frozen=True)
class Turns:
    """Whose turn each row of a period is.

    group: (PERIOD,), the group of each row; rank: (PERIOD,), how many rows before it in the period
    are of its group; units: (groups,), how many rows of the period each group has.
    """

    group: Integers
    rank: Integers
    units: Integers


def turns(shares: Floats) -> Turns:
    """The groups' turns, in which no group is ever a whole row ahead of its share, or behind it.

    The earliest deadline goes first; with these release times and deadlines there always is a
    schedule, and at any row a group has had its share of rows up to at most 1 - 1/(2k - 2) of one,
    for k groups (Tijdeman 1980, "The chairman assignment problem"). Between any two rows, then,
    it has its share up to less than two.
    """
    units = _units(shares)
    k = 2 * max(2, len(units)) - 2
    group = np.repeat(np.arange(len(units)), units)
    size = units[group]
    job = np.concatenate([np.arange(n) for n in units.tolist()])
    release = -(-(job * k + 1) * PERIOD // (k * size)) - 1  # counted from row 0
    deadline = ((job + 1) * k - 1) * PERIOD // (k * size)
    by_release = np.argsort(release, kind="stable")
    waiting: list[tuple[int, int]] = []
    ready = zip(
        release[by_release].tolist(),
        deadline[by_release].tolist(),
        group[by_release].tolist(),
        strict=True,
    )
    following = next(ready, None)
    chosen = np.empty(PERIOD, np.int64)
    for row in range(PERIOD):
        while following is not None and following[0] <= row:
            heapq.heappush(waiting, following[1:])
            following = next(ready, None)
        chosen[row] = heapq.heappop(waiting)[1]
    rank = np.empty(PERIOD, np.int64)
    rank[np.argsort(chosen, kind="stable")] = job
    return Turns(chosen, rank, units)


def _units(shares: Floats) -> Integers:
    """The shares as whole rows of a period, by largest remainders, one at least."""
    if len(shares) > PERIOD:
        raise DataError(f"{len(shares)} languages and sources cannot be mixed: at most {PERIOD}")
    exact = shares / shares.sum() * PERIOD
    units: Integers = np.maximum(1, np.floor(exact)).astype(np.int64)
    while (left := PERIOD - int(units.sum())) > 0:
        units[np.argsort(units - exact, kind="stable")[:left]] += 1
    for _ in range(-left):  # groups of less than one row were given one: the largest give it
        units[np.argmax(units)] -= 1
    return units


class Mixture:
    """Rows of several texts in turn; each text's sequences once in each epoch of its own.

    Which sequence a row is follows from its number alone, so a run goes on at any step.
    """

    def __init__(self, streams: Sequence[PackedSequences], shares: Floats) -> None:
        self.streams = streams
        self.turns = turns(shares)

    def places(self, numbers: Integers) -> tuple[Integers, Integers]:
        """For rows by their number: the text of each, and which of its sequences, from 0: (n,)."""
        periods, places = np.divmod(numbers, PERIOD)
        group = self.turns.group[places]
        return group, periods * self.turns.units[group] + self.turns.rank[places]

    def batch(self, step: int, batch_size: int) -> Batch:
        """The batch of a step (see `PackedSequences.batch`)."""
        group, sequence = self.places(step * batch_size + np.arange(batch_size))
        rows = np.empty((batch_size, self.streams[0].length + 1), np.int64)
        for number in np.unique(group).tolist():
            here = group == number
            rows[here] = self.streams[number].rows(sequence[here])
        return batch_of_rows(rows, self.streams[0].separator)
