"""Objectives by the name that a recipe uses."""

from collections.abc import Callable
from typing import Any

from llmos.models.vocabulary import Vocabulary
from llmos.recipe import Recipe
from llmos.training.objectives.causal_lm import CausalLM
from llmos.training.objectives.classification import Classification
from llmos.training.objectives.extractive_qa import ExtractiveQA
from llmos.training.objectives.instruction import Instruction
from llmos.training.objectives.masked_lm import MaskedLM
from llmos.training.objectives.objective import Objective
from llmos.training.objectives.packed_text import require_mixable
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
    """The recipe's objective for this vocabulary. Raises `RecipeError` where keys do not fit it."""
    objective = OBJECTIVES[recipe.objective.name](recipe, words)
    require_mixable(objective, recipe)
    return objective


def record_of(recipe: Recipe) -> str:
    """Which records the recipe's objective reads, one of `data.records.RECORDS`."""
    objective: Any = OBJECTIVES[recipe.objective.name]
    return str(objective.record)
