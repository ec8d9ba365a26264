"""Objectives whose rows are full of text: packed in memory, or in token shards before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from llmos.data.batches import Batches
from llmos.data.documents import Document
from llmos.data.mixture import Group, is_mixed, weights_of
from llmos.data.packing import TokenRun, pack
from llmos.errors import RecipeError
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import DataSection, Recipe


@runtime_checkable
class PackedObjective(Protocol):
    """An objective that reads documents behind one another, whatever their length."""

    def document_separator(self) -> int | None:
        """The id between documents, None for none.

        Raises `RecipeError` where the recipe needs more of a text than its tokens.
        """

    def packed_batches(self, groups: Mapping[Group, TokenRun], seed: int) -> Batches:
        """The training batches of tokens by language and source, mixed as the recipe says."""


def require_mixable(objective: object, recipe: Recipe) -> None:
    """Raise `RecipeError` where a recipe mixes languages but its objective packs no text."""
    if not is_mixed(recipe.data):
        return
    weights_of(recipe.data)
    pairs = recipe.objective.name == "masked_lm" and recipe.objective.next_sentence
    if pairs or not isinstance(objective, PackedObjective):
        raise RecipeError(
            "data.mixture_temperature and data.mixture_weights are for packed text (causal_lm, "
            "span_corruption, masked_lm with next_sentence = false): leave them out"
        )


def packed(
    documents: Sequence[Document], words: Vocabulary, separator: int | None, data: DataSection
) -> dict[Group, TokenRun]:
    """The tokens of these documents, by language and source where the recipe mixes those."""
    texts: dict[Group, list[str]] = defaultdict(list)
    mixed = is_mixed(data)
    for document in documents:
        group = Group(document.language, document.source) if mixed else Group("", "")
        texts[group].append(document.text)
    return {group: pack(words.encode_all(texts[group]), separator, words.size) for group in texts}
