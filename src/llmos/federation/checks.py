"""What the coordinator asks of a member's manifest before it believes any of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llmos.errors import ProtocolError
from llmos.federation.state import RunState
from llmos.recipe import Recipe
from llmos.records import JSON


def _expect(manifest: JSON, expected: JSON) -> None:
    for name, value in expected.items():
        if manifest.get(name) != value:
            raise ProtocolError(
                f"{name} is {str(manifest.get(name))[:40]!r} instead of {str(value)[:40]!r}"
            )


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
            "steps": recipe.rounds.local_steps,
        },
    )
    training = recipe.training
    most = recipe.rounds.local_steps * training.batch_size * training.sequence_length
    tokens = update.get("tokens")
    if type(tokens) is not int or not 0 < tokens <= most:
        raise ProtocolError(f"tokens is {str(tokens)[:40]!r}, not a number from 1 to {most}")
    loss = update.get("loss_nats_per_token")
    if not isinstance(loss, int | float) or isinstance(loss, bool) or not math.isfinite(loss):
        raise ProtocolError(f"loss_nats_per_token is {str(loss)[:40]!r}, not a finite number")
    for name in ("update_sha256", "ledger_head"):
        if not isinstance(update.get(name), str):
            raise ProtocolError(f"{name} is {str(update.get(name))[:40]!r}, not a sha256")


def check_evaluation(signed: JSON, split: str, number: int, weights_sha256: str) -> None:
    """Raise `ProtocolError` unless these are sums for that split, round and weights."""
    _expect(signed, {"split": split, "round": number, "weights_sha256": weights_sha256})
    scores = signed.get("scores")
    if not isinstance(scores, dict):
        raise ProtocolError(f"scores is {str(scores)[:40]!r}, not an object")
    for name in ("nll_nats", "tokens", "bytes", "units"):
        value = scores.get(name)
        if not isinstance(value, int | float) or not 0 < value < 2**53:
            raise ProtocolError(f"scores.{name} is {str(value)[:40]!r}, not a positive number")


def mean_bits_per_byte(scores: Sequence[JSON]) -> float | None:
    """The mean over members of nll / (ln 2 bytes), each member counting the same; None for none."""
    if not scores:
        return None
    return math.fsum(s["nll_nats"] / math.log(2) / s["bytes"] for s in scores) / len(scores)
