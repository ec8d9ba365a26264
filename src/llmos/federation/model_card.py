"""The model card of a run, from its recipe and ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmos.federation.report import comparison_markdown
from llmos.metrics.perplexity import bits_per_byte, perplexity
from llmos.models.families import HEADS
from llmos.provenance.cards import CardMember, ModelCard
from llmos.provenance.ledger import Entry
from llmos.provenance.run_state import RunState
from llmos.recipe import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def make_card(
    recipe: Recipe, state: RunState, entries: Sequence[Entry], model: PreTrainedModel, head: str
) -> ModelCard:
    """The card of `model`, which has the selected weights; `entries` is the ledger so far."""
    assert state.selected is not None
    tokens = dict.fromkeys(state.members, 0)
    for entry in entries:
        if entry.kind == "update_accepted":
            tokens[entry.body["update"]["member"]] += entry.body["update"]["tokens"]
    total = sum(tokens.values()) or 1
    members = [
        CardMember(
            name=name,
            public_key=admitted.public_key,
            tokens=tokens[name],
            share=tokens[name] / total,
            languages=tuple(admitted.card.get("languages", ())),
            licence=str(admitted.card.get("licence", "")),
            synthetic=bool(admitted.card.get("synthetic", False)),
        )
        for name, admitted in sorted(state.members.items())
    ]
    languages = recipe.languages or tuple(sorted({code for m in members for code in m.languages}))
    return ModelCard(
        name=recipe.name,
        description=recipe.description,
        languages=languages,
        licence=recipe.publication.licence,
        family=model.config.model_type,
        parameters=model.num_parameters(),
        objective=recipe.objective.name,
        members=members,
        rounds=recipe.rounds.count,
        local_steps=recipe.rounds.local_steps,
        published_round=state.selected,
        strategy=recipe.aggregation.strategy,
        codec=recipe.compression.codec,
        recipe_sha256=state.recipe_sha256,
        ledger_head=state.head,
        ledger_entries=state.entries,
        weights_sha256=state.weights[state.selected],
        scores={
            member: (
                bits_per_byte(scores["nll_nats"], scores["bytes"]),
                perplexity(scores["nll_nats"], scores["tokens"]),
            )
            for member, scores in sorted(state.test.items())
        },
        table=comparison_markdown(state.comparison) if state.comparison else "",
        auto_class=HEADS[head].__name__,
        base=recipe.model.base,
        method=recipe.training.method,
    )
