"""What somebody trains and scores with: their text, the tokenizer, one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmos.device import default_device
from llmos.errors import RecipeError
from llmos.models.arrays import Vector, layout_of, set_weights
from llmos.models.base import base_vocabulary, load_base
from llmos.models.families import build_model
from llmos.models.frozen import set_frozen
from llmos.models.lora import adapt
from llmos.models.publish import longest_text
from llmos.models.scoring import Scores
from llmos.models.speedups import speed_up
from llmos.models.tokenizer import tokenizer_from_bytes, tokenizer_to_bytes
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import Recipe
from llmos.records import JSON
from llmos.storage import sha256_hex
from llmos.training.loop import Trainer
from llmos.training.material import Material
from llmos.training.objectives import make_objective
from llmos.training.parallel import ONE_PROCESS, Processes

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Origin:
    """What a model is built from, besides the recipe, its tokenizer and the trained weights.

    config: the content of a config.json, where it goes on from a base; whole: the weights that are
    trained as they are beside low-rank additions; frozen: those that are not trained, where they
    do not follow from the recipe's seed.
    """

    config: Mapping[str, Any] | None = None
    whole: tuple[str, ...] = ()
    frozen: Vector | None = None


NEW = Origin()


def new_model(recipe: Recipe, words: Vocabulary, origin: Origin = NEW) -> PreTrainedModel:
    """The recipe's model for this vocabulary, as its objective and method need it."""
    model = build_model(
        recipe.model,
        words,
        recipe.seed,
        head=make_objective(recipe, words).head,
        labels=recipe.objective.labels,
        config=origin.config,
    )
    adapt(model, recipe, origin.whole)
    if origin.frozen is not None:
        set_frozen(model, origin.frozen)
    return _made_fast(model, recipe)


def _made_fast(model: PreTrainedModel, recipe: Recipe) -> PreTrainedModel:
    # Here and not only when it is trained, so that whoever only scores gets the same bits.
    if default_device() == "cpu" and not recipe.training.compile:
        speed_up(model)
    return model


def base_head(recipe: Recipe) -> str:
    """Which head the recipe's base gets. Raises `ModelError` where there is no such base."""
    words = base_vocabulary(recipe.model.base, roles=_has_roles(recipe))
    return make_objective(recipe, words).head


def from_base(recipe: Recipe) -> tuple[bytes, Origin, PreTrainedModel]:
    """The recipe's base: tokenizer.json, what to build it from again, and the model to train.

    Raises `ModelError` where it cannot be loaded, `RecipeError` where the recipe does not fit it.
    """
    base = load_base(
        recipe.model.base,
        base_head(recipe),
        recipe.objective.labels,
        recipe.seed,
        roles=_has_roles(recipe),
    )
    longest = longest_text(base.model)
    if longest and recipe.training.sequence_length > longest:
        raise RecipeError(
            f"training.sequence_length = {recipe.training.sequence_length} is longer than what "
            f"the base can look at ({longest} tokens): lower it"
        )
    model = _made_fast(adapt(base.model, recipe, base.new), recipe)
    return tokenizer_to_bytes(base.tokenizer), Origin(base.config, base.new), model


def _has_roles(recipe: Recipe) -> bool:
    return recipe.objective.name == "instruction"


class Workbench:
    """Text and model under a recipe, once the tokenizer is there.

    `model` is one built of `origin` already; without it a new one is built.
    """

    def __init__(
        self,
        recipe: Recipe,
        material: Material,
        tokenizer_bytes: bytes,
        origin: Origin = NEW,
        model: PreTrainedModel | None = None,
    ) -> None:
        self.recipe = recipe
        self.material = material
        self.tokenizer_bytes = tokenizer_bytes
        self.origin = origin
        self.words = Vocabulary.of(tokenizer_from_bytes(tokenizer_bytes), origin.config)
        self.objective = make_objective(recipe, self.words)
        self.model = model or new_model(recipe, self.words, origin)
        self.data = material.training_batches(self.objective, tokenizer_bytes)

    @classmethod
    def alone(cls, recipe: Recipe, material: Material) -> Workbench:
        """The bench of one organisation, from the recipe's base or its own text.

        Of shards the tokenizer is the one that they were made with.
        """
        if recipe.model.base:
            return cls(recipe, material, *from_base(recipe))
        return cls(recipe, material, material.tokenizer_bytes())

    def identity(self) -> JSON:
        """What was trained, for a ledger: the tokenizer's hash, family, values, and which train."""
        values = {id(p): p.numel() for n, p in self.model.named_parameters() if ".lora_" not in n}
        return {
            "tokenizer_sha256": sha256_hex(self.tokenizer_bytes),
            "family": self.model.config.model_type,
            "parameters": sum(values.values()),
            "layout": layout_of(self.model).to_json(),
        }

    def rebuilt(self, weights: Vector) -> PreTrainedModel:
        """Another model, whole in this process, with these trained weights."""
        if self.recipe.model.base:
            _, _, model = from_base(self.recipe)
        else:
            model = new_model(self.recipe, self.words, self.origin)
        set_weights(model, weights)
        return model

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
