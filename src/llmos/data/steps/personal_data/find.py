"""Where personal data stand in a text, by kind, and the text with a mask in each place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from llmos.data.steps.personal_data.banking import CREDIT_CARD, IBAN
from llmos.data.steps.personal_data.contact import EMAIL
from llmos.data.steps.personal_data.excerpts import excerpts_of
from llmos.data.steps.personal_data.keys import API_KEY
from llmos.data.steps.personal_data.national_ids import COUNTRIES, IN_TEXT
from llmos.data.steps.personal_data.network import IP_ADDRESS
from llmos.data.steps.personal_data.patterns import Finders
from llmos.data.steps.personal_data.phones import PHONE
from llmos.data.steps.personal_data.wallets import CRYPTO_WALLET

KINDS: dict[str, Finders] = {
    "api_key": API_KEY,
    "crypto_wallet": CRYPTO_WALLET,
    "iban": IBAN,
    "email": EMAIL,
    "credit_card": CREDIT_CARD,
    "national_id": {
        "text": IN_TEXT,
        "numbers": tuple(finder for finders in COUNTRIES.values() for finder in finders),
    },
    "ip_address": IP_ADDRESS,
    "phone": PHONE,
}
"""What finds each kind; where two kinds overlap, the earlier one has it: it is surer."""
MASKS = {kind: f"<{kind.upper()}>" for kind in KINDS}
"""What stands in the place of each kind: "<EMAIL>", "<PHONE>", "<CREDIT_CARD>" ..."""


class Found(NamedTuple):
    """Personal data of one kind: characters `start` to `end` of a text."""

    start: int
    end: int
    kind: str


def find(text: str, kinds: Iterable[str] = ()) -> list[Found]:
    """The personal data of these kinds (none named: all), in order, none over another."""
    wanted = [name for name in KINDS if name in frozenset(kinds)] or list(KINDS)
    ranked: list[tuple[int, int, int, str]] = []
    for scope, excerpt in excerpts_of(text).items():
        for rank, kind in enumerate(wanted):
            for finder in KINDS[kind].get(scope, ()):
                for start, end in finder.spans(excerpt.view):
                    placed = excerpt.placed(start)
                    ranked.append((placed, start - end - placed, rank, kind))
    ranked.sort()
    kept: list[Found] = []
    last = -1  # rank of the last one kept
    for start, negative_end, rank, kind in ranked:
        if kept and start < kept[-1].end:
            if rank >= last:
                continue
            kept.pop()
        kept.append(Found(start, -negative_end, kind))
        last = rank
    return kept


def masked(text: str, found: Iterable[Found]) -> str:
    """The text with a mask in the place of each of `found`, which are in order."""
    parts, at = [], 0
    for start, end, kind in found:
        parts += [text[at:start], MASKS[kind]]
        at = end
    return "".join([*parts, text[at:]])
