"""Objectives by the name that a recipe uses."""

from collections.abc import Callable
from typing import Any

from llmos.data.mixture import is_mixed, weights_of
from llmos.errors import RecipeError
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import Recipe
from llmos.training.objectives.causal_lm import CausalLM
from llmos.training.objectives.classification import Classification
from llmos.training.objectives.extractive_qa import ExtractiveQA
from llmos.training.objectives.instruction import Instruction
from llmos.training.objectives.masked_lm import MaskedLM
from llmos.training.objectives.objective import Objective
from llmos.training.objectives.packed_text import PackedObjective
from llmos.training.objectives.seq2seq import Seq2Seq
from llmos.training.objectives.span_corruption import SpanCorruption

OBJECTIVES: dict[str, Callable[[Recipe, Vocabulary], Objective]] = {
    "causal_lm": CausalLM,
    "classification": Classification,
    "extractive_qa": ExtractiveQA,
    "instruction": Instruction,
    "masked_lm": MaskedLM,
    "seq2seq": Seq2Seq,
    "span_corruption": SpanCorruption,
}


def make_objective(recipe: Recipe, words: Vocabulary) -> Objective:
    """The recipe's objective for this vocabulary.

    Raises `RecipeError` where the recipe mixes languages, but the objective reads no packed text.
    """
    objective = OBJECTIVES[recipe.objective.name](recipe, words)
    if is_mixed(recipe.data):
        packs = isinstance(objective, PackedObjective)
        if not packs or (recipe.objective.name == "masked_lm" and recipe.objective.next_sentence):
            raise RecipeError(
                "data.mixture_temperature and data.mixture_weights are for packed text (causal_lm, "
                "span_corruption, masked_lm with next_sentence = false): leave them out"
            )
        weights_of(recipe.data)
    return objective


def record_of(recipe: Recipe) -> str:
    """Which records the recipe's objective reads, one of `data.records.RECORDS`."""
    objective: Any = OBJECTIVES[recipe.objective.name]
    return str(objective.record)
