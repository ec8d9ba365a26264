"""How much text a training sequence holds beside the special tokens around it."""

from __future__ import annotations

from collections.abc import Sequence

from llmos.errors import RecipeError
from llmos.recipe import Recipe


def room_in(frame: Sequence[list[int]], recipe: Recipe) -> int:
    """How many tokens of text a training sequence holds beside those of the frame.

    Raises `RecipeError` where it is less than one for each text.
    """
    length, special, texts = recipe.training.sequence_length, sum(map(len, frame)), len(frame) - 1
    if length - special < texts:
        raise RecipeError(
            f"training.sequence_length = {length} leaves no room for "
            f"{'a text' if texts == 1 else f'{texts} texts'} beside {special} special tokens: "
            "raise it"
        )
    return length - special
