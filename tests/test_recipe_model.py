"""Recipes: what family, objective, size and base have to do with one another."""

from __future__ import annotations

import json

import pytest

from llmos.errors import RecipeError
from llmos.recipe import (
    FAMILIES_OF,
    KEYS,
    SIZES,
    Recipe,
    parse_assignment,
    parse_recipe,
    recipe_from_dict,
)

HEAD = 'name = "x"\n'


def refusal(text: str) -> str:
    """The message with which a TOML text is refused; it must be one short, printable line."""
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text)
    message = str(caught.value)
    assert message.isprintable() and len(message) < 400
    return message


# Families and objectives -------------------------------------------------------------------------


@pytest.mark.parametrize("objective", FAMILIES_OF)
@pytest.mark.parametrize("family", KEYS["model.family"].about.choices)
def test_a_family_learns_what_it_is_made_for(family: str, objective: str) -> None:
    text = HEAD + f"model.family = '{family}'\nobjective.name = '{objective}'\n"
    text += "objective.labels = ['a', 'b']\n"
    assert set(FAMILIES_OF) == set(KEYS["objective.name"].about.choices)
    decoder, heads = family in ("gpt2", "llama"), ("classification", "extractive_qa")
    fits = {
        "causal_lm": decoder,
        "instruction": decoder,
        "masked_lm": family == "bert",
        "span_corruption": family == "t5",
        "seq2seq": family == "t5",
    }.get(objective, objective in heads)
    if fits:
        assert parse_recipe(text).objective.name == objective
        return
    message = refusal(text)
    assert f"objective.name = '{objective}' cannot be learnt by model.family = '{family}'" in (
        message
    )
    assert "choose the family " + " or ".join(FAMILIES_OF[objective]) in message
    # A base says itself what it is.
    assert parse_recipe(text + "model.base = 'some/model'\n").model.base == "some/model"


@pytest.mark.parametrize("labels", [[], ["only"]])
def test_a_classifier_needs_labels(labels: list[str]) -> None:
    text = HEAD + f"objective = {{name = 'classification', labels = {labels}}}\n"
    assert "objective.labels = " in refusal(text) and "at least two" in refusal(text)
    assert "too few to classify" in refusal(text + "model.base = 'some/model'\n")
    assert parse_recipe(HEAD + f"objective = {{name = 'causal_lm', labels = {labels}}}\n")


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("family = 'llama'\nnum_heads = 6\nhidden_size = 24\nnum_key_value_heads = 3", True),
        ("family = 'llama'\nnum_heads = 6\nhidden_size = 24\nnum_key_value_heads = 6", True),
        ("family = 'llama'\nnum_heads = 6\nhidden_size = 24\nnum_key_value_heads = 1", True),
        ("family = 'llama'\nnum_heads = 6\nhidden_size = 24\nnum_key_value_heads = 4", False),
        ("family = 'llama'\nnum_heads = 6\nhidden_size = 24\nnum_key_value_heads = 12", False),
        ("family = 'gpt2'\nnum_key_value_heads = 2", False),
        ("family = 'gpt2'\nbase = 'x'\nnum_key_value_heads = 2", True),
    ],
)
def test_key_value_heads_share_out_the_heads_of_llama(text: str, fits: bool) -> None:
    if fits:
        assert parse_recipe(HEAD + "[model]\n" + text).model.num_key_value_heads > 0
    else:
        message = refusal(HEAD + "[model]\n" + text)
        assert "needs the family llama and must divide model.num_heads = " in message
        assert "model.num_key_value_heads = " in message


def test_a_base_has_its_own_dimensions() -> None:
    wrong = "num_heads = 7\nhidden_size = 100\n"
    assert "not divisible" in refusal(HEAD + "[model]\n" + wrong)
    recipe = parse_recipe(HEAD + "[model]\nbase = 'models/bert'\n" + wrong)
    assert recipe.model.base == "models/bert"
    # Lengths are the recipe's own all the same.
    text = HEAD + "model.base = 'x'\ntraining.sequence_length = 129"
    assert "longer than model.context_length = 128" in refusal(text)


# Sizes -------------------------------------------------------------------------------------------


def dimensions(recipe: Recipe) -> tuple[int, int, int]:
    return recipe.model.num_layers, recipe.model.num_heads, recipe.model.hidden_size


@pytest.mark.parametrize("size", SIZES)
def test_a_size_fills_the_dimensions_that_are_not_stated(size: str) -> None:
    layers, heads, hidden = SIZES[size]
    recipe = parse_recipe(HEAD + f"model.size = '{size}'")
    assert dimensions(recipe) == (layers, heads, hidden)
    stated = parse_recipe(HEAD + f"[model]\nnum_layers = 3\nsize = '{size}'")
    assert dimensions(stated) == (3, heads, hidden)
    stated = parse_recipe(HEAD + f"model = {{size = '{size}', hidden_size = {4 * heads}}}")
    assert dimensions(stated) == (layers, heads, 4 * heads)
    # Whatever reads the recipe finds the same dimensions, even if it knew other sizes.
    for again in (
        parse_recipe(stated.to_toml()),
        recipe_from_dict(json.loads(stated.canonical())),
        stated.with_values({"seed": 3}).with_values({"seed": 0}),
    ):
        assert again == stated and again.sha256() == stated.sha256()
    assert stated.agreed()["model"]["num_layers"] == layers


def test_another_size_takes_the_place_of_the_one_before() -> None:
    recipe = parse_recipe(HEAD + "[model]\nsize = 'tiny'\nnum_layers = 3")
    assert dimensions(recipe) == (3, 2, 64)
    larger = recipe.with_values({"model.size": "124m"})
    assert dimensions(larger) == (12, 12, 768)
    mixed = recipe.with_values({"model.num_heads": 24, "model.size": "124m"})
    assert dimensions(mixed) == (12, 24, 768)
    # The same size again changes nothing; none at all gives the defaults.
    assert recipe.with_values({"model.size": "tiny"}) == recipe
    assert dimensions(recipe.with_values({"model.size": ""})) == dimensions(parse_recipe(HEAD))
    # A recipe of the older kind keeps its dimensions until it names a size.
    plain = parse_recipe(HEAD + "[model]\nnum_layers = 3")
    assert dimensions(plain.with_values({"model.size": "tiny"})) == (2, 2, 64)
    assert parse_assignment("model.size=350m") == ("model.size", "350m")


def test_a_size_must_be_known() -> None:
    message = refusal(HEAD + "model.size = '124M'")
    assert "model.size = '124M' is not one of" in message and "did you mean '124m'?" in message
