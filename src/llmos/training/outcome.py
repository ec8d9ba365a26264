"""The outcome of training as files: model folder, card, and what `verify` needs of them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from llmos.metrics.perplexity import bits_per_byte, perplexity
from llmos.models.families import HEADS
from llmos.models.publish import write_model_folder
from llmos.models.vocabulary import Vocabulary
from llmos.provenance.cards import CardMember, ModelCard, render_card
from llmos.provenance.ledger import Ledger
from llmos.recipe import Recipe
from llmos.records import JSON
from llmos.storage import sha256_file, write_atomic

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OWN = "its own text"
"""The one row of a card's tables."""


def write_outcome(
    folder: Path, model: PreTrainedModel, words: Vocabulary, recipe: Recipe, card: ModelCard
) -> dict[str, str]:
    """Write the model folder anew, with its card and recipe; the sha256 of each of its files.

    Everything is on the disk when this returns.
    """
    shutil.rmtree(folder, ignore_errors=True)  # what a crash may have left half written
    write_model_folder(folder, model, words, recipe.model.context_length)
    write_atomic(folder / "README.md", render_card(card).encode())
    write_atomic(folder / "recipe.toml", recipe.to_toml().encode())
    return sync_folder(folder)


def sync_folder(folder: Path) -> dict[str, str]:
    """The sha256 by name of the files in `folder`, which transformers did not wait for."""
    files = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        files[path.name] = sha256_file(path)
    return files


def alone_card(recipe: Recipe, ledger: Ledger, head: str) -> ModelCard:
    """The card of a run alone, from what its ledger holds so far."""
    bodies: dict[str, JSON] = {entry.kind: entry.body for entry in ledger.entries}
    opened, prepared, trained = (bodies[k] for k in ("alone_opened", "prepared", "trained"))
    card, test = opened["card"], trained["test"]
    return ModelCard(
        name=recipe.name,
        description=recipe.description,
        languages=recipe.languages or tuple(card["languages"]),
        licence=recipe.publication.licence,
        family=prepared["family"],
        parameters=prepared["parameters"],
        objective=recipe.objective.name,
        members=[
            CardMember(
                name=OWN,
                public_key=ledger.entries[0].signer,
                tokens=trained["tokens"],
                share=1.0,
                languages=tuple(card["languages"]),
                licence=card["licence"],
                synthetic=card["synthetic"],
            )
        ],
        rounds=0,
        local_steps=trained["steps"],
        published_round=trained["selected_step"],
        strategy="",
        codec="",
        recipe_sha256=opened["recipe_sha256"],
        ledger_head=ledger.head,
        ledger_entries=len(ledger.entries),
        weights_sha256=trained["weights_sha256"],
        scores={
            OWN: (
                bits_per_byte(test["nll_nats"], test["bytes"]),
                perplexity(test["nll_nats"], test["tokens"]),
            )
        },
        table="",
        auto_class=HEADS[head].__name__,
        base=recipe.model.base,
        method=recipe.training.method,
    )
