"""What somebody trains and scores with: their text, the tokenizer, one model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmos.models.families import build_model
from llmos.models.scoring import Scores
from llmos.models.tokenizer import tokenizer_from_bytes
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import Recipe
from llmos.training.loop import Trainer
from llmos.training.material import Material
from llmos.training.objectives import make_objective
from llmos.training.parallel import ONE_PROCESS, Processes

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def new_model(
    recipe: Recipe, words: Vocabulary, config: Mapping[str, Any] | None = None
) -> PreTrainedModel:
    """The recipe's model for this vocabulary, as its objective needs it, drawn from its seed."""
    return build_model(
        recipe.model,
        words,
        recipe.seed,
        head=make_objective(recipe, words).head,
        labels=recipe.objective.labels,
        config=config,
    )


class Workbench:
    """Text and model under a recipe, once the tokenizer is there.

    `config` is the content of a config.json, where the model is a copy of a base.
    """

    def __init__(
        self,
        recipe: Recipe,
        material: Material,
        tokenizer_bytes: bytes,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.recipe = recipe
        self.material = material
        self.words = Vocabulary.of(tokenizer_from_bytes(tokenizer_bytes), config)
        self.objective = make_objective(recipe, self.words)
        self.model = new_model(recipe, self.words, config)
        self.data = self.objective.batches(material.split.train, recipe.seed)

    def trainer(
        self, total_steps: int, peak: float = 1.0, processes: Processes = ONE_PROCESS
    ) -> Trainer:
        """A trainer of this model on this text; `peak` scales the recipe's learning rate."""
        return Trainer(
            self.model,
            self.data,
            self.objective,
            self.recipe.training,
            total_steps=total_steps,
            seed=self.recipe.seed,
            peak=peak,
            processes=processes,
        )

    def score(self, split: str) -> Scores:
        """Score the model as it stands on the held-out `split` (validation or test)."""
        if split == "test":
            documents, block = self.material.test_documents(), self.material.test_block_bytes
        else:
            documents, block = self.material.validation_documents(), 0
        return self.objective.score(self.model, documents, block_bytes=block)
