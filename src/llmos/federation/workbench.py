"""What a member trains and scores with: its text, the common tokenizer, one model."""

from __future__ import annotations

from llmos.data.packing import PackedSequences
from llmos.federation.material import Material
from llmos.models.families import build_model
from llmos.models.scoring import Scores, score_texts
from llmos.models.tokenizer import END_OF_TEXT, token_byte_lengths, token_id, tokenizer_from_bytes
from llmos.recipe import Recipe
from llmos.training.loop import Trainer


class Workbench:
    """A member's text and model under a recipe, once the tokenizer is agreed."""

    def __init__(self, recipe: Recipe, material: Material, tokenizer_bytes: bytes) -> None:
        self.recipe = recipe
        self.material = material
        self.tokenizer = tokenizer_from_bytes(tokenizer_bytes)
        # A member's text may spell a special token; it must not become one.
        self.tokenizer.encode_special_tokens = True
        self.end = token_id(self.tokenizer, END_OF_TEXT)
        self.byte_lengths = token_byte_lengths(self.tokenizer)
        self.model = build_model(recipe.model, self.tokenizer, recipe.seed)
        tokens = material.tokens(self.tokenizer, self.end)
        self.data = PackedSequences(tokens, recipe.training.sequence_length, recipe.seed)

    def trainer(self, total_steps: int, peak: float = 1.0) -> Trainer:
        """A trainer of this model on this text; `peak` scales the recipe's learning rate."""
        return Trainer(
            self.model,
            self.data,
            self.recipe.training,
            objective=self.recipe.objective.name,
            total_steps=total_steps,
            seed=self.recipe.seed,
            peak=peak,
        )

    def score(self, split: str) -> Scores:
        """Score the model as it stands on the held-out `split` (validation or test)."""
        material = self.material
        is_test = split == "test"
        return score_texts(
            self.model,
            material.test_texts() if is_test else material.validation_texts(),
            lambda text: self.tokenizer.encode(text, add_special_tokens=False).ids,
            self.byte_lengths,
            begin=self.end,
            length=self.recipe.training.sequence_length,
            stride=self.recipe.evaluation.stride,
            block_bytes=material.test_block_bytes if is_test else 0,
        )
