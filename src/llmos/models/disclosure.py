"""What of a member's piece counts leaves home, the report on it, and its form on the wire.

A member sends only pieces that occur at least `threshold` times in its own text. That keeps rare
strings (a name, a number, a password in one letter) at home. It is no differential privacy: the
threshold counts occurrences, not persons, and a string repeated often enough does leave. The
report therefore says how many long pieces left, since a long piece may be more than a word. Where
differential privacy is asked for, `tokenizers.noise` changes the counts before they come here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import NoReturn

from llmos.errors import ProtocolError, UsageError
from llmos.models.pieces import LONGEST_WORD, is_training_piece

DEFAULT_THRESHOLD = 5
"""Occurrences that a piece needs at one member to leave it."""

LONG_PIECE = 8
"""Characters from which a piece is reported as long."""

WIRE_VERSION = 1
MAXIMUM_BYTES = 256 * 2**20
MAXIMUM_PIECES = 8_000_000
MAXIMUM_COUNT = 2**53 - 1  # the largest integer that every JSON reader keeps exact


@dataclass(frozen=True)
class DisclosureReport:
    """What one member's counts disclose. Lengths are in characters of the original text."""

    threshold: int
    pieces: int
    """Distinct pieces that left."""
    long_pieces: int
    """Of these, how many have at least `minimum` characters (a leading space counts)."""
    minimum: int
    withheld_pieces: int | None
    """Distinct pieces that stayed at home; None with noise, as it would say what noise hides."""
    withheld_share: float | None
    """Occurrences of withheld pieces as a share (0 to 1) of all occurrences; None with noise."""

    def __str__(self) -> str:
        left = (
            f"{self.pieces} pieces left home, {self.long_pieces} of them with {self.minimum} or "
            "more characters; "
        )
        if self.withheld_pieces is None:
            return left + f"pieces with a noisy count below {self.threshold} stayed"
        return left + (
            f"{self.withheld_pieces} pieces ({self.withheld_share:.2%} of "
            f"occurrences) with fewer than {self.threshold} occurrences stayed"
        )

    def to_json(self) -> dict[str, float]:
        """The figures that may leave the member."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def disclose(counts: Mapping[str, int], threshold: int = DEFAULT_THRESHOLD) -> dict[str, int]:
    """The counts that may leave home: pieces with at least `threshold` occurrences, sorted.

    Threshold 0 or 1 withholds nothing: for tests only, since it discloses rare strings.
    Raises `UsageError` for a negative threshold.
    """
    if threshold < 0:
        raise UsageError(f"threshold {threshold} is negative: the default is {DEFAULT_THRESHOLD}")
    least = max(threshold, 1)
    return {piece: count for piece, count in sorted(counts.items()) if count >= least}


def disclosure_report(
    counts: Mapping[str, int], threshold: int = DEFAULT_THRESHOLD, *, minimum: int = LONG_PIECE
) -> DisclosureReport:
    """Report on `disclose(counts, threshold)`: what left, what is long, what stayed.

    `counts` are the member's own, before the threshold. Raises like `disclose`.
    """
    disclosed = disclose(counts, threshold)
    total = sum(counts.values())
    return DisclosureReport(
        threshold=threshold,
        pieces=len(disclosed),
        long_pieces=sum(len(piece) >= minimum for piece in disclosed),
        minimum=minimum,
        withheld_pieces=len(counts) - len(disclosed),
        withheld_share=1 - sum(disclosed.values()) / total if total else 0.0,
    )


def add_counts(members: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The coordinator's sum over members, sorted: the same for every order of the members."""
    total: Counter[str] = Counter()
    for counts in members:
        total.update(counts)
    return dict(sorted(total.items()))


def counts_to_bytes(disclosed: Mapping[str, int]) -> bytes:
    """Counts for the wire: one JSON object, keys sorted by code point, no spaces, UTF-8."""
    record = {"pieces": dict(disclosed), "version": WIRE_VERSION}
    return json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def counts_from_bytes(data: bytes, *, threshold: int = 1) -> dict[str, int]:
    """Read counts that a member sent. The member is not trusted.

    Raises `ProtocolError` unless `data` is exactly what `counts_to_bytes` writes (so that one
    meaning has one hash), within the size limits, with every count at least `threshold` (the
    agreed one: a member that discloses more is refused) and every piece one that counting yields.
    """
    if len(data) > MAXIMUM_BYTES:
        _refuse(f"{len(data)} bytes are more than {MAXIMUM_BYTES}")
    try:
        record = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        _refuse(f"not JSON ({error})")
    if not isinstance(record, dict) or record.keys() != {"pieces", "version"}:
        _refuse("not an object of pieces and version")
    if record["version"] != WIRE_VERSION:
        _refuse(f"version {str(record['version'])[:20]} is not {WIRE_VERSION}")
    pieces = record["pieces"]
    if not isinstance(pieces, dict) or len(pieces) > MAXIMUM_PIECES:
        _refuse(f"pieces are not an object of at most {MAXIMUM_PIECES}")
    for piece, count in pieces.items():
        if type(count) is not int or not max(threshold, 1) <= count <= MAXIMUM_COUNT:
            _refuse(
                f"count {str(count)[:20]} of piece {piece[:LONGEST_WORD]!r} is not an integer "
                f"from {max(threshold, 1)} to {MAXIMUM_COUNT}"
            )
    try:
        canonical = counts_to_bytes(pieces) == data
    except UnicodeEncodeError:
        _refuse("a piece holds a lone surrogate")
    if not canonical:
        _refuse("not in canonical form (sorted, without spaces, each piece once)")
    for piece in pieces:
        if not is_training_piece(piece):
            _refuse(f"{piece[:LONGEST_WORD]!r} of {len(piece)} characters is not one piece")
    return pieces


def _refuse(reason: str) -> NoReturn:
    raise ProtocolError(
        f"piece counts refused: {reason}; have the member count again with this release of llmos"
    )
