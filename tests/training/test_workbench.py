"""The bench of one organisation: a model from its own text or a base, and built again from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from llmos.errors import ModelError, RecipeError
from llmos.models.arrays import get_weights, layout_of
from llmos.models.frozen import get_frozen
from llmos.models.lora import merged
from llmos.models.tokenizer import tokenizer_from_bytes
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import Recipe
from llmos.storage import sha256_file, sha256_hex
from llmos.training.material import Material
from llmos.training.workbench import Origin, Workbench, base_head, from_base, new_model

if TYPE_CHECKING:
    from tests.conftest import Joint

LORA = {"training.method": "lora", "lora.rank": 2, "training.learning_rate": 0.01}
METHODS: list[dict[str, Any]] = [{}, LORA, {"training.freeze": ["transformer.wte.*"]}]


@pytest.fixture(scope="module")
def text(joint: Joint) -> Path:
    return joint.members["anna"]


def bench_of(recipe: Recipe, text: Path) -> Workbench:
    return Workbench.alone(recipe, Material(text, recipe))


def test_a_new_one_has_a_tokenizer_without_rare_pieces(joint: Joint, text: Path) -> None:
    bench = bench_of(joint.recipe, text)
    tokenizer = tokenizer_from_bytes(bench.tokenizer_bytes)
    assert tokenizer.get_vocab_size() == joint.recipe.tokenizer.vocabulary_size
    open_to_all = bench_of(joint.recipe.with_values({"tokenizer.threshold": 0}), text)
    assert open_to_all.tokenizer_bytes != bench.tokenizer_bytes
    assert bench.score("validation").bits_per_byte > 0


@pytest.mark.parametrize("method", METHODS)
def test_from_a_base_it_is_trained_and_built_again(
    joint: Joint, text: Path, method: dict[str, Any]
) -> None:
    recipe = joint.recipe.with_values({"model.base": str(joint.folder), **method})
    bench = bench_of(recipe, text)
    tokenizer = joint.folder / "model" / "tokenizer.json"
    assert sha256_hex(bench.tokenizer_bytes) == sha256_file(tokenizer)
    frozen = get_frozen(bench.model)
    trainer = bench.trainer(4)
    before = bench.score("validation").bits_per_byte
    trainer.run(4)
    after = bench.score("validation").bits_per_byte
    assert after < before
    again = get_frozen(bench.model)
    assert (frozen is None) == (not method)
    assert frozen is None or (again is not None and frozen.tobytes() == again.tobytes())
    model = bench.rebuilt(trainer.weights())
    assert model is not bench.model
    ids = torch.arange(100, 120).reshape(2, 10)
    with torch.no_grad():
        expected = bench.model.eval()(ids).logits
        assert torch.equal(model.eval()(ids).logits, expected)
        torch.testing.assert_close(merged(model).eval()(ids).logits, expected)
    identity = bench.identity()
    assert identity["family"] == "gpt2"
    assert identity["parameters"] == merged(model).num_parameters()
    assert identity["layout"] == layout_of(bench.model).to_json()
    assert identity["tokenizer_sha256"] == sha256_file(tokenizer)


def test_a_base_is_built_again_from_what_is_told_of_it(joint: Joint) -> None:
    recipe = joint.recipe.with_values({"model.base": str(joint.folder), **LORA})
    tokenizer, origin, model = from_base(recipe)
    words = Vocabulary.of(tokenizer_from_bytes(tokenizer), origin.config)
    told = Origin(origin.config, origin.whole, get_frozen(model))
    other = new_model(recipe, words, told)
    assert layout_of(other) == layout_of(model)
    # The additions begin from the recipe's seed, so even these are the same.
    assert get_weights(other).tobytes() == get_weights(model).tobytes()
    ids = torch.arange(100, 120).reshape(2, 10)
    with torch.no_grad():
        assert torch.equal(other.eval()(ids).logits, model.eval()(ids).logits)


def test_the_head_follows_from_recipe_and_base(joint: Joint) -> None:
    base = {"model.base": str(joint.folder)}
    assert base_head(joint.recipe.with_values(base)) == "causal_lm"
    asked = {"objective.name": "instruction", **base}
    assert base_head(joint.recipe.with_values(asked)) == "causal_lm"
    with pytest.raises(ModelError, match="no separator token"):
        base_head(joint.recipe.with_values({"objective.name": "masked_lm", **base}))


def test_longer_rows_than_the_base_can_look_at_are_refused(joint: Joint) -> None:
    changes = {"training.sequence_length": 33, "model.context_length": 64}
    recipe = joint.recipe.with_values({"model.base": str(joint.folder), **changes})
    with pytest.raises(RecipeError, match=r"33 is longer than what the base can look at \(32"):
        from_base(recipe)
