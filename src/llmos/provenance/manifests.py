"""What is asked of a member's signed manifest before any of it is believed, as far as no arrays are
needed for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llmos.errors import ProtocolError
from llmos.provenance.run_state import RunState
from llmos.records import JSON, canonical_json
from llmos.storage import sha256_hex


def brief(value: Any) -> str:
    """A value of unknown origin, short enough for a message."""
    return repr(str(value)[:40])


def expect(manifest: JSON, expected: JSON) -> None:
    """Raise `ProtocolError` unless the manifest has these values, of the same types."""
    for name, value in expected.items():
        found = manifest.get(name)
        # In Python true is 1 and 1.0 is 1; in a manifest they are not.
        if type(found) is not type(value) or found != value:
            raise ProtocolError(f"{name} is {brief(found)} instead of {brief(value)}")


def is_amount(value: Any) -> bool:
    """Whether it is a number from 0 to 2^53."""
    return type(value) in (int, float) and 0 <= value < 2**53


def check_join(join: JSON, state: RunState) -> None:
    """Raise `ProtocolError` unless this join (its signature is checked) fits the run."""
    member = join["member"]
    if join.get("recipe_sha256") != state.recipe_sha256:
        raise ProtocolError(
            f"{member} signed another recipe ({brief(join.get('recipe_sha256'))}): "
            "compare with llmos recipe diff"
        )
    card = join.get("card")
    if not isinstance(card, dict):
        raise ProtocolError(f"the data card of {member} is {brief(card)}, not an object")
    if sha256_hex(canonical_json(card)) != join.get("card_sha256"):
        raise ProtocolError(f"the data card of {member} does not have the sha256 it states")
    languages = card.get("languages", [])
    if not (isinstance(languages, list) and all(isinstance(code, str) for code in languages)):
        raise ProtocolError(f"the data card of {member} has languages {brief(languages)}")
    for name, kind in (("licence", str), ("synthetic", bool)):
        if name in card and not isinstance(card[name], kind):
            raise ProtocolError(f"the data card of {member} has {name} {brief(card[name])}")


def check_evaluation(signed: JSON, split: str, number: int, weights_sha256: str) -> None:
    """Raise `ProtocolError` unless these are sums for that split, round and weights."""
    expect(signed, {"split": split, "round": number, "weights_sha256": weights_sha256})
    scores = signed.get("scores")
    if not isinstance(scores, dict):
        raise ProtocolError(f"scores is {brief(scores)}, not an object")
    for name in ("nll_nats", "tokens", "bytes", "units"):
        value = scores.get(name)
        if value is None or not is_amount(value) or value == 0:
            raise ProtocolError(f"scores.{name} is {brief(value)}, not a positive number")
        if name != "nll_nats" and type(value) is not int:
            raise ProtocolError(f"scores.{name} is {brief(value)}, not a whole number")


def mean_bits_per_byte(scores: Sequence[JSON]) -> float | None:
    """The mean over members of nll / (ln 2 bytes), each member counting the same; None for none."""
    if not scores:
        return None
    return math.fsum(s["nll_nats"] / math.log(2) / s["bytes"] for s in scores) / len(scores)
