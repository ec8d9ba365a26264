"""Objectives by the name that a recipe uses."""

from collections.abc import Callable

from llmos.models.vocabulary import Vocabulary
from llmos.recipe import Recipe
from llmos.training.objectives.causal_lm import CausalLM
from llmos.training.objectives.objective import Objective

OBJECTIVES: dict[str, Callable[[Recipe, Vocabulary], Objective]] = {"causal_lm": CausalLM}


def make_objective(recipe: Recipe, words: Vocabulary) -> Objective:
    """The recipe's objective for this vocabulary."""
    return OBJECTIVES[recipe.objective.name](recipe, words)
