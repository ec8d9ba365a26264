"""What the coordinator asks of a member's manifest before it believes any of it."""

from __future__ import annotations

from llmos.errors import ProtocolError
from llmos.federation.compression import CODECS
from llmos.federation.protocol import is_sha256
from llmos.provenance.manifests import brief, expect, is_amount
from llmos.provenance.run_state import RunState
from llmos.recipe import Recipe
from llmos.records import JSON

ENCODER_DECODER = ("span_corruption", "seq2seq")
"""Objectives whose examples have a source and a target, each of up to a sequence's length."""
LONGEST_REASON = 1000
"""Characters of the reason for which a member declines a round."""


def check_counts(counts: JSON) -> None:
    """Raise `ProtocolError` unless this manifest of piece counts names a blob and its report."""
    if not is_sha256(counts.get("counts_sha256")):
        raise ProtocolError(f"counts_sha256 is {brief(counts.get('counts_sha256'))}, not a sha256")
    report = counts.get("report")
    if not (isinstance(report, dict) and all(is_amount(value) for value in report.values())):
        raise ProtocolError(f"report is {brief(report)}, not an object of numbers")


def check_declined(update: JSON, state: RunState) -> None:
    """Raise `ProtocolError` unless this is a refusal to train in the open round, with a reason."""
    expect(update, {"round": state.round, "base_sha256": state.base_sha256})
    reason = update["declined"]
    if not isinstance(reason, str) or not 0 < len(reason) <= LONGEST_REASON:
        raise ProtocolError(f"declined is {brief(reason)}, not a text of 1 to {LONGEST_REASON}")


def check_update(update: JSON, state: RunState, recipe: Recipe) -> None:
    """Raise `ProtocolError` unless this manifest fits the open round (its signature is checked)."""
    expect(
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
        raise ProtocolError(f"tokens is {brief(tokens)}, not a number from 1 to {most}")
    loss = update.get("loss_nats_per_token")
    if not is_amount(loss):
        raise ProtocolError(f"loss_nats_per_token is {brief(loss)}, not a number from 0 to 2^53")
    for name in ("update_sha256", "ledger_head"):
        if not is_sha256(update.get(name)):
            raise ProtocolError(f"{name} is {brief(update.get(name))}, not a sha256")
