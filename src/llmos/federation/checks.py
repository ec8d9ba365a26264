"""What the coordinator asks of a member's manifest before it believes any of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llmos.errors import ProtocolError
from llmos.federation.compression import CODECS
from llmos.federation.protocol import is_sha256
from llmos.federation.state import RunState
from llmos.recipe import Recipe
from llmos.records import JSON, canonical_json
from llmos.storage import sha256_hex

ENCODER_DECODER = ("span_corruption", "seq2seq")
"""Objectives whose examples have a source and a target, each of up to a sequence's length."""
LONGEST_REASON = 1000
"""Characters of the reason for which a member declines a round."""


def _short(value: Any) -> str:
    return repr(str(value)[:40])


def _expect(manifest: JSON, expected: JSON) -> None:
    for name, value in expected.items():
        found = manifest.get(name)
        # In Python true is 1 and 1.0 is 1; in a manifest they are not.
        if type(found) is not type(value) or found != value:
            raise ProtocolError(f"{name} is {_short(found)} instead of {_short(value)}")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 2**53


def check_join(join: JSON, state: RunState) -> None:
    """Raise `ProtocolError` unless this join (its signature is checked) fits the run."""
    member = join["member"]
    if join.get("recipe_sha256") != state.recipe_sha256:
        raise ProtocolError(
            f"{member} signed another recipe ({_short(join.get('recipe_sha256'))}): "
            "compare with llmos recipe diff"
        )
    card = join.get("card")
    if not isinstance(card, dict):
        raise ProtocolError(f"the data card of {member} is {_short(card)}, not an object")
    if sha256_hex(canonical_json(card)) != join.get("card_sha256"):
        raise ProtocolError(f"the data card of {member} does not have the sha256 it states")
    languages = card.get("languages", [])
    if not (isinstance(languages, list) and all(isinstance(code, str) for code in languages)):
        raise ProtocolError(f"the data card of {member} has languages {_short(languages)}")
    for name, kind in (("licence", str), ("synthetic", bool)):
        if name in card and not isinstance(card[name], kind):
            raise ProtocolError(f"the data card of {member} has {name} {_short(card[name])}")


def check_counts(counts: JSON) -> None:
    """Raise `ProtocolError` unless this manifest of piece counts names a blob and its report."""
    if not is_sha256(counts.get("counts_sha256")):
        raise ProtocolError(f"counts_sha256 is {_short(counts.get('counts_sha256'))}, not a sha256")
    report = counts.get("report")
    if not (isinstance(report, dict) and all(_is_number(value) for value in report.values())):
        raise ProtocolError(f"report is {_short(report)}, not an object of numbers")


def check_declined(update: JSON, state: RunState) -> None:
    """Raise `ProtocolError` unless this is a refusal to train in the open round, with a reason."""
    _expect(update, {"round": state.round, "base_sha256": state.base_sha256})
    reason = update["declined"]
    if not isinstance(reason, str) or not 0 < len(reason) <= LONGEST_REASON:
        raise ProtocolError(f"declined is {_short(reason)}, not a text of 1 to {LONGEST_REASON}")


def check_update(update: JSON, state: RunState, recipe: Recipe) -> None:
    """Raise `ProtocolError` unless this manifest fits the open round (its signature is checked)."""
    _expect(
        update,
        {
            "recipe_sha256": state.recipe_sha256,
            "tokenizer_sha256": state.tokenizer_sha256,
            "card_sha256": state.members[update["member"]].card_sha256,
            "round": state.round,
            "base_sha256": state.base_sha256,
            "codec": recipe.compression.codec,
            "values": state.layout.size,
            "bytes": CODECS[recipe.compression.codec].size(state.layout.size),
            "steps": recipe.rounds.local_steps,
        },
    )
    training = recipe.training
    most = recipe.rounds.local_steps * training.batch_size * training.sequence_length
    most *= 2 if recipe.objective.name in ENCODER_DECODER else 1
    tokens = update.get("tokens")
    if type(tokens) is not int or not 0 < tokens <= most:
        raise ProtocolError(f"tokens is {_short(tokens)}, not a number from 1 to {most}")
    loss = update.get("loss_nats_per_token")
    if not _is_number(loss):
        raise ProtocolError(f"loss_nats_per_token is {_short(loss)}, not a number from 0 to 2^53")
    for name in ("update_sha256", "ledger_head"):
        if not is_sha256(update.get(name)):
            raise ProtocolError(f"{name} is {_short(update.get(name))}, not a sha256")


def check_evaluation(signed: JSON, split: str, number: int, weights_sha256: str) -> None:
    """Raise `ProtocolError` unless these are sums for that split, round and weights."""
    _expect(signed, {"split": split, "round": number, "weights_sha256": weights_sha256})
    scores = signed.get("scores")
    if not isinstance(scores, dict):
        raise ProtocolError(f"scores is {_short(scores)}, not an object")
    for name in ("nll_nats", "tokens", "bytes", "units"):
        value = scores.get(name)
        if value is None or not _is_number(value) or value == 0:
            raise ProtocolError(f"scores.{name} is {_short(value)}, not a positive number")
        if name != "nll_nats" and type(value) is not int:
            raise ProtocolError(f"scores.{name} is {_short(value)}, not a whole number")


def mean_bits_per_byte(scores: Sequence[JSON]) -> float | None:
    """The mean over members of nll / (ln 2 bytes), each member counting the same; None for none."""
    if not scores:
        return None
    return math.fsum(s["nll_nats"] / math.log(2) / s["bytes"] for s in scores) / len(scores)
