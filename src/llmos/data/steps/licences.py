"""Keep documents by their licence, written as SPDX writes it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from llmos.data.documents import Document
from llmos.data.steps.step import Drop
from llmos.provenance.licences import NONE, UNRECOGNISED, normalise, policy, refusal


@dataclass(frozen=True)
class Licences:
    """Drops "licence_denied", "licence_not_allowed" and "licence_unknown" (see `refusal`).

    `allowed` and `denied` are SPDX licences, `NONE` stands for no licence stated. The licence of a
    document that is kept is an SPDX expression, or "" where none is stated. Counts statements that
    are none ("licence_unrecognised"). Raises `UsageError` for an entry that is no licence.
    """

    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        policy(self.allowed)
        policy(self.denied)

    def __call__(self, document: Document, counts: Counter[str]) -> Document | Drop:
        """The document with its licence normalised, or why it is dropped."""
        licence = normalise(document.licence)
        if licence == UNRECOGNISED:
            counts["licence_unrecognised"] += 1
        if reason := refusal(licence, self.allowed, self.denied):
            return Drop(f"licence_{reason}")
        kept = "" if licence == NONE else licence
        return document if kept == document.licence else replace(document, licence=kept)
