"""How much each member's counts say in a joint tokenizer: a temperature between languages.

Where one member has a hundred times the text of another, nearly all merges go to its language, and
the other pays in tokens for the same content (Petrov et al. 2023, arXiv:2305.15425). With
temperature T a member with the share p of all text counts as if it had the share p^(1/T), which
is how mT5 (arXiv:2010.11934, alpha = 1/T = 0.3) and XLM-R (arXiv:1911.02116) draw their languages.
The member with the most text keeps its counts, the others' are multiplied up.

Whole numbers alone are used, no powers or logarithms of a processor: every machine computes the
same counts. Members stand for languages; one with several languages is weighted as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction

from llmos.models.pieces import is_unspaced

STEPS = 100
"""1 / temperature is taken to two decimals, as alpha is given in the papers."""
_SHIFT = 16


def mix_counts(members: Sequence[Mapping[str, int]], temperature: float = 1.0) -> dict[str, int]:
    """The sum of all members' counts, each weighted by `temperature`, sorted by piece.

    The same for every order of the members. At temperature 1 the counts are added as they are.
    """
    total: Counter[str] = Counter()
    factors = multipliers([text_bytes(counts) for counts in members], temperature)
    half = 1 << (_SHIFT - 1)
    for counts, factor in zip(members, factors, strict=True):
        for piece, count in counts.items():
            total[piece] += (count * factor + half) >> _SHIFT
    return dict(sorted(total.items()))


def text_bytes(counts: Mapping[str, int]) -> int:
    """UTF-8 bytes of the text that a member's counts stand for.

    A character of a script without spaces is counted in the parts of its run and by itself (see
    `pieces.training_pieces`); it is measured once.
    """
    return sum(
        count * len(piece.encode())
        for piece, count in counts.items()
        if len(piece) > 1 or not is_unspaced(piece)
    )


def multipliers(sizes: Sequence[int], temperature: float) -> list[int]:
    """2^16 (largest / size)^(1 - 1/T) for each size, rounded down: exact, by integer roots."""
    exponent = 1 - Fraction(round(STEPS / temperature), STEPS)
    power, root = exponent.numerator, exponent.denominator
    largest = max(sizes, default=0)
    # A member of no text that can be measured keeps what little it may have.
    return [
        _root((largest**power << (_SHIFT * root)) // size**power, root) if size else 1 << _SHIFT
        for size in sizes
    ]


def _root(number: int, degree: int) -> int:
    """The largest whole number whose power of `degree` is at most `number`: Newton's method."""
    if number < 2 or degree == 1:
        return number
    guess = 1 << -(-number.bit_length() // degree)
    while True:
        better = ((degree - 1) * guess + number // guess ** (degree - 1)) // degree
        if better >= guess:
            return guess
        guess = better
