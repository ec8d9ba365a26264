"""Recipes: the schema, hostile input, the hash that members agree on, and the generated page."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.errors import RecipeError
from llmos.recipe import (
    FAMILIES_OF,
    KEYS,
    LoraSection,
    ModelSection,
    ObjectiveSection,
    Recipe,
    keys_markdown,
    load_recipe,
    parse_assignment,
    parse_recipe,
    recipe_diff,
    recipe_from_dict,
)
from llmos.recipe_keys import Key

ROOT = Path(__file__).parent.parent
HEAD = 'name = "x"\n'


def refusal(text: str) -> str:
    """The message with which a TOML text is refused; it must be one short, printable line."""
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, source="x.toml")
    message = str(caught.value)
    assert message.isprintable() and len(message) < 400
    assert message.startswith("x.toml: ")
    return message


# Defaults and hash -------------------------------------------------------------------------------


def test_the_defaults_of_version_1_keep_their_hash() -> None:
    # Members have signed hashes of recipes that leave keys out. If this fails, a default or a key
    # has changed: that needs a new recipe version, or breaks every agreement made before.
    golden = "ad3c13f8abcc7f2f90b85bc867a79dd136c1212fdc718982764ba5cd3c423b85"
    assert parse_recipe('name = "golden"').sha256() == golden


def keys_in(nested: dict[str, Any]) -> set[str]:
    """The dotted names of all values in a recipe's nested form."""
    names = set()
    for name, value in nested.items():
        names |= {f"{name}.{leaf}" for leaf in value} if isinstance(value, dict) else {name}
    return names


LATER = {name for name, key in KEYS.items() if key.about.later}


def test_the_hash_is_that_of_the_canonical_json_of_all_keys() -> None:
    recipe = parse_recipe(HEAD)
    assert keys_in(recipe.to_dict()) == set(KEYS)
    canonical = rfc8785.dumps(recipe.agreed())
    assert recipe.canonical() == canonical
    assert recipe.sha256() == hashlib.sha256(canonical).hexdigest()
    nested = json.loads(canonical)
    assert nested["model"]["family"] == "gpt2"
    # All keys but those that came after recipes had been agreed on.
    assert keys_in(nested) == set(KEYS) - LATER
    assert {"lora", "checkpoint"} & set(nested) == set()


OTHER: dict[str, Any] = {
    "model.size": "tiny",
    "model.base": "a/base",
    "model.num_key_value_heads": 2,
    "data.source_field": "question",
    "data.target_field": "answer",
    "data.label_field": "class",
    "data.mixture_weights": ["en=2", "sw=0.5"],
    "objective.labels": ["a", "b"],
    "objective.noise_share": 0.25,
    "training.muon_momentum": 0.5,
    "training.decay_share": 0.5,
    "lora.dropout": 0.5,
    "training.freeze": ["model.layers.0.*"],
    "training.method": "lora",
    "training.not_finite": "skip",
    "lora.targets": ["q_proj"],
    "tokenizer.noise_delta": 0.5,
    "preparation.languages": ["sw"],
    "preparation.quality": ["c4"],
    "preparation.personal_data": "drop",
    "preparation.personal_kinds": ["iban"],
    "preparation.licences_allowed": ["CC0-1.0"],
    "preparation.licences_denied": ["MIT"],
}


@pytest.mark.parametrize("name", sorted(LATER))
def test_a_key_that_came_later_is_hashed_where_it_is_not_at_its_default(name: str) -> None:
    default: Any = KEYS[name].default
    value = OTHER.get(name)
    if value is None:
        value = not default if isinstance(default, bool) else default + 1
    plain = parse_recipe(HEAD + '[model]\nfamily = "llama"\n')
    changed = plain.with_values({name: value})
    section, _, leaf = name.partition(".")
    assert changed.agreed()[section][leaf] == value
    assert keys_in(changed.agreed()) == (set(KEYS) - LATER) | {name}
    assert changed.sha256() != plain.sha256()
    # The default, written out, is the recipe as it was.
    written = changed.with_values({name: default})
    if name == "model.size":
        assert written.model.hidden_size == plain.model.hidden_size
    assert written == plain and written.sha256() == plain.sha256()


def test_the_hash_ignores_comments_order_and_spelling_but_no_value() -> None:
    a = parse_recipe(HEAD + "seed = 7\n[training]\nlearning_rate = 1\nbeta1 = 0.5")
    b = parse_recipe("# hi\nseed=0x7\n'name'='x'\ntraining.beta1=5e-1\ntraining.learning_rate=1.0")
    assert a == b and a.sha256() == b.sha256()
    hashes = {a.sha256()} | {
        a.with_values(change).sha256()
        for change in (
            {"seed": 8},
            {"training.learning_rate": 1.0000000000000002},
            {"publication.keep_updates": False},
            {"agreement.members": ["anna", "ben"]},
            {"agreement.members": ["ben", "anna"]},
        )
    }
    assert len(hashes) == 6


def test_minus_zero_is_zero() -> None:
    minus = parse_recipe(HEAD + "model.dropout = -0.0")
    assert str(minus.model.dropout) == "0.0"


def test_a_recipe_cannot_be_changed_in_place() -> None:
    recipe = parse_recipe(HEAD)
    with pytest.raises(FrozenInstanceError):
        recipe.training.batch_size = 1  # type: ignore[misc]


# Round trips -------------------------------------------------------------------------------------


def values_of(key: Key) -> st.SearchStrategy[Any]:
    """Values that the schema of one key allows, kept within what no rule between keys forbids."""
    about = key.about
    fixed: dict[str, st.SearchStrategy[Any]] = {
        "version": st.just(1),
        "model.num_heads": st.sampled_from([1, 2, 4]),
        "model.hidden_size": st.integers(1, 100).map(lambda n: 8 * n),
        "model.num_key_value_heads": st.sampled_from([0, 1]),
        "model.context_length": st.integers(5000, 6000),
        "training.sequence_length": st.integers(2, 5000),
        "evaluation.stride": st.integers(0, 5000),
        "data.validation": st.floats(1e-9, 0.4),
        "data.test": st.floats(0, 0.5),
        "languages": st.lists(st.sampled_from(["en", "zh", "pt-BR", "sw"]), unique=True),
        "agreement.quorum": st.just(0),
        **dict.fromkeys(
            ("data.text_field", "data.source_field", "data.target_field", "data.label_field"),
            st.sampled_from(["text", "文本", '"quoted"']),
        ),
        "publication.licence": st.sampled_from(["Apache-2.0", "CC-BY-SA-4.0 OR MIT"]),
    }
    if key.name in fixed:
        return fixed[key.name]
    if key.kind is bool:
        return st.booleans()
    if key.kind is int:
        return st.integers(int(about.minimum or 0), int(about.maximum or 0))
    if key.kind is float:
        return st.floats(
            about.above if about.above is not None else about.minimum,
            about.below if about.below is not None else about.maximum,
            exclude_min=about.above is not None,
            exclude_max=about.below is not None,
        )
    words: st.SearchStrategy[str] = st.text()
    if about.choices:
        words = st.sampled_from(about.choices)
    elif about.pattern:
        words = st.from_regex(about.pattern, fullmatch=True)
    else:
        hidden = "\x7f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
        letters = st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=hidden)
        words = st.text(letters | st.sampled_from('"\\\n\t'), max_size=50)
    if key.kind is tuple:
        return st.lists(words, min_size=about.items[0], max_size=5, unique=True)
    return words


def fitting(values: dict[str, Any]) -> dict[str, Any]:
    """The values, changed where the rules between keys ask for it."""
    families = FAMILIES_OF[values["objective.name"]]
    if not values["model.base"]:
        if values["model.family"] not in families:
            values["model.family"] = families[-1]
        if values["model.family"] != "llama":
            values["model.num_key_value_heads"] = 0
        if values["model.family"] != "bert" and values["tokenizer.algorithm"] == "wordpiece":
            values["tokenizer.algorithm"] = "unigram"
    if values["objective.name"] == "classification" and len(values["objective.labels"]) < 2:
        values["objective.labels"] = ["no", "yes"]
    return values


any_recipe = st.fixed_dictionaries({name: values_of(key) for name, key in KEYS.items()})


@settings(max_examples=60, deadline=None)
@given(any_recipe.map(fitting))
def test_what_is_written_is_read_back_equal(values: dict[str, Any]) -> None:
    recipe = Recipe(name="x").with_values(values)
    for comments in (True, False):
        again = parse_recipe(recipe.to_toml(comments=comments))
        assert again == recipe and again.sha256() == recipe.sha256()
    assert recipe_from_dict(json.loads(recipe.canonical())) == recipe
    assert recipe_from_dict(recipe.agreed()) == recipe
    assert set(recipe.flat()) == set(KEYS)


def test_the_commented_form_explains_every_key() -> None:
    lines = Recipe(name="x").to_toml().splitlines()
    for number, line in enumerate(lines):
        if " = " in line and not line.startswith("#"):
            assert lines[number - 1].startswith("#"), line
    assert all(len(line) <= 100 for line in lines)


@settings(max_examples=200, deadline=None)
@given(st.text() | st.text().map(lambda text: HEAD + text))
def test_no_text_is_answered_with_anything_but_a_recipe_or_a_recipe_error(text: str) -> None:
    try:
        parse_recipe(text)
    except RecipeError as error:
        assert str(error).isprintable()


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from([*(k.split(".")[0] for k in KEYS), "zz"]), json_like))
def test_no_data_is_answered_with_anything_but_a_recipe_or_a_recipe_error(
    data: dict[str, Any],
) -> None:
    try:
        recipe = recipe_from_dict(data)
    except RecipeError as error:
        assert str(error).isprintable()
    else:
        assert recipe_from_dict(recipe.to_dict()) == recipe


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (HEAD + "[training]\nlearning_rat = 1", ["learning_rat (= 1)", "training.learning_rate?"]),
        (HEAD + "[training]\nLearning-Rate = 1", ["did you mean training.learning_rate?"]),
        (HEAD + "learning_rate = 1", ["did you mean training.learning_rate?"]),
        (HEAD + "[model]\nbatch_size = 1", ["model.batch_size", "mean training.batch_size?"]),
        (HEAD + "zzzzqqq = 1", ["unknown key zzzzqqq (= 1)", "llmos recipe keys"]),
        (HEAD + "[modle]\nfamily = 'gpt2'", ["unknown section [modle]", "did you mean [model]?"]),
        (HEAD + "[qqqq]", ["unknown section [qqqq]", "the sections are model, tokenizer"]),
        (HEAD + "[[model]]", ["model = [{...}] is not a section", "[model]"]),
        (HEAD + "model = 3", ["model = 3 is not a section"]),
        (HEAD + "['mod\\nel']", ["unknown section"]),
        (HEAD + '"a\\nb\\u202e" = 1', ["unknown key 'a\\nb\\u202e'"]),
        (HEAD + "[model]\nfamily = 'gtp2'", ["model.family = 'gtp2'", "did you mean 'gpt2'?"]),
        (HEAD + "[model]\nfamily = 'os:system'", ["is not one of gpt2, llama"]),
        (HEAD + "[privacy]\nmode = 'secure'", ["privacy.mode = 'secure'", "not one of open"]),
        (HEAD + "training.batch_size = -3", ["training.batch_size = -3", "1 to", "default 16"]),
        (HEAD + "training.batch_size = 8.0", ["8.0 is not a whole number"]),
        (HEAD + "training.batch_size = true", ["true is not a whole number"]),
        (HEAD + "training.batch_size = '8'", ["'8' is not a whole number"]),
        (HEAD + "seed = 9007199254740993", ["seed = 9007199254740993 is not from 0 to"]),
        (HEAD + "seed = 0x" + "f" * 20000, ["a whole number of 80000 bits"]),
        (HEAD + "seed = " + "9" * 5000, ["not valid TOML"]),
        (HEAD + "seed = 1979-05-27", ["is not a whole number"]),
        (HEAD + "model.hidden_size = 131072", ["model.hidden_size = 131072 is not from 1 to"]),
        (HEAD + "training.learning_rate = nan", ["nan is not a finite number"]),
        (HEAD + "training.learning_rate = -inf", ["-inf is not a finite number"]),
        (HEAD + "training.learning_rate = 1e400", ["inf is not a finite number"]),
        (HEAD + "training.learning_rate = 0", ["learning_rate = 0 is not more than 0"]),
        (HEAD + "training.learning_rate = 1" + "0" * 400, ["is not more than 0 and at most 10"]),
        (HEAD + "training.learning_rate = true", ["true is not a number"]),
        (HEAD + "model.dropout = 1.0", ["1.0 is not at least 0 and less than 1"]),
        (HEAD + "publication.keep_updates = 1", ["1 is not true or false"]),
        (HEAD + "publication.licence = '../x'", ["publication.licence = '../x'"]),
        (HEAD + "data.text_field = '/etc/passwd'", ["data.text_field = '/etc/passwd'"]),
        (HEAD + "description = 3", ["description = 3 is not text"]),
        (HEAD + 'description = "a\\u001b[31m"', ["control characters"]),
        (HEAD + 'description = "\\u202e"', ["control characters"]),
        (HEAD + f"description = '{'x' * 5000}'", ["has 5000 characters"]),
        (HEAD + "languages = 'en'", ["'en' is not a list of texts"]),
        (HEAD + "languages = [1]", ["[1] is not a list of texts"]),
        (HEAD + "languages = ['English']", ["item of languages = 'English'", "en, zh or pt-BR"]),
        (HEAD + "evaluation.columns = []", ["has 0 entries"]),
        (HEAD + "evaluation.columns = ['pool']", ["did you mean 'pooled'?"]),
        (HEAD + "agreement.members = ['a', 'b', 'a']", ["names 'a' twice"]),
        (HEAD + "agreement.members = ['../../etc']", ["1 to 40 of a-z"]),
        (HEAD + "agreement.members = ['Anna']", ["1 to 40 of a-z"]),
        (HEAD + f"agreement.members = ['{'a' * 41}']", ["1 to 40 of a-z"]),
        (HEAD + "agreement.members = ['a\\n']".replace("'", '"'), ["1 to 40 of a-z"]),
        ("name = '../x'", ["name = '../x'", "1 to 40 of a-z"]),
        ("name = '-x'", ["name = '-x'"]),
        ("name = ''", ["name = ''"]),
        ("", ["has no name", 'name = "my-run"']),
        ("version = 2\nsomething = 'new'", ["recipe version 2 is newer", "(1)", "upgrade"]),
        ("version = 0", ["version = 0 is not a recipe version"]),
        ("version = true", ["version = true is not"]),
        ("version = '1'", ["version = '1' is not"]),
        ("name = ", ["not valid TOML", "end of document"]),
        ("name = 1 2", ["not valid TOML", "line 1, column"]),
        ("name = 'a'\nname = 'b'", ["not valid TOML"]),
        ("name = 'a\x00'", ["not valid TOML"]),
        ("x = " + "[" * 100000, ["nested too deeply"]),
        ("#" * 300000, ["larger than 256 KiB"]),
        ("import os\nos.system('x')", ["not valid TOML"]),
        (
            HEAD + "[model]\nhidden_size = 130",
            ["130 is not divisible by model.num_heads = 4", "132"],
        ),
        (HEAD + "[model]\nfamily='llama'\nhidden_size = 132", ["odd width (33)"]),
        (HEAD + "training.sequence_length = 129", ["longer than model.context_length = 128"]),
        (HEAD + "evaluation.stride = 129", ["evaluation.stride = 129 is longer"]),
        (HEAD + "data.validation = 0.5\ndata.test = 0.5", ["leave nothing to train on"]),
        (HEAD + "data.validation = 0", ["evaluation.select = 'best' needs validation text"]),
        (
            HEAD + "agreement = {members = ['a', 'b'], quorum = 3}",
            ["quorum = 3 is more than the 2"],
        ),
    ],
)
def test_refused_in_one_line_that_says_why(text: str, parts: list[str]) -> None:
    message = refusal(text)
    for part in parts:
        assert part in message


def test_direct_construction_is_checked_too() -> None:
    with pytest.raises(RecipeError, match=r"model\.num_layers = 0"):
        Recipe(name="x", model=ModelSection(num_layers=0))
    with pytest.raises(RecipeError, match="is not a section"):
        Recipe(name="x", model={"num_layers": 3})  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="cannot be learnt by"):
        Recipe(name="x", objective=ObjectiveSection(name="seq2seq"))
    with pytest.raises(RecipeError, match=r"lora\.rank = 0"):
        Recipe(name="x", lora=LoraSection(rank=0))
    with pytest.raises(RecipeError, match="seed = -1"):
        replace(Recipe(name="x"), seed=-1)


def test_with_values_changes_what_is_named_only() -> None:
    recipe = parse_recipe(HEAD)
    changed = recipe.with_values({"seed": 1, "evaluation.columns": ["alone"], "model.dropout": 0})
    assert changed.evaluation.columns == ("alone",)
    assert isinstance(changed.model.dropout, float)
    assert recipe_diff(recipe, changed) == [
        ("seed", 0, 1),
        ("evaluation.columns", ("alone", "together", "together_own", "pooled"), ("alone",)),
    ]
    assert recipe_diff(changed, changed) == []
    for wrong in ({"sead": 1}, {"model": {"num_layers": 2}}, {"model.": 1}, {"seed": "1"}):
        with pytest.raises(RecipeError):
            recipe.with_values(wrong)


# Files -------------------------------------------------------------------------------------------


def test_errors_of_files_name_the_file_and_the_next_step(tmp_path: Path) -> None:
    def message(path: Path) -> str:
        with pytest.raises(RecipeError) as caught:
            load_recipe(path)
        return str(caught.value)

    assert "does not exist" in message(tmp_path / "none.toml")
    assert "is not a file" in message(tmp_path)
    assert "llmos recipe new" in message(tmp_path / "none.toml")
    assert "cannot be read" in message(tmp_path / ("x" * 5000))
    assert "does not exist" in message(Path("a\0b"))
    os.mkfifo(tmp_path / "pipe")
    assert "is not a file" in message(tmp_path / "pipe")
    latin = tmp_path / "latin.toml"
    latin.write_bytes('description = "é"'.encode("latin-1"))
    assert (
        "byte 15" in message(latin) and "UTF-8" in message(latin) and str(latin) in message(latin)
    )
    latin.write_bytes('name = "x"'.encode("utf-16"))
    assert "UTF-8" in message(latin)
    latin.write_bytes(b"#" * (1 << 19))
    assert "larger than 256 KiB" in message(latin)
    wrong = tmp_path / "wr\nong.toml"
    wrong.write_text("seed = -1")
    assert message(wrong).isprintable()


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes('\ufeffname = "x"\r\nseed = 3\r\n'.encode())
    assert load_recipe(path) == Recipe(name="x", seed=3)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda p: p.name)
def test_the_recipes_that_come_along_are_valid(path: Path) -> None:
    assert load_recipe(path).name == path.stem


def test_the_page_of_all_keys_is_current() -> None:
    page = (ROOT / "docs" / "recipe.md").read_text()
    assert page == keys_markdown(), "docs/recipe.md is old: run `make docs`"
    for name in KEYS:
        assert f"| `{name.rpartition('.')[2]}` |" in page


# KEY=VALUE ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed=7", ("seed", 7)),
        (" training.learning_rate = 1e-3 ", ("training.learning_rate", 1e-3)),
        ("publication.keep_updates=false", ("publication.keep_updates", False)),
        ("model.family=llama", ("model.family", "llama")),
        ("description=a = b", ("description", "a = b")),
        ('description="a\\tb"', ("description", "a\tb")),
        ("languages=en, fr", ("languages", ["en", "fr"])),
        ('languages=["en","fr"]', ("languages", ["en", "fr"])),
        ("languages=", ("languages", [])),
    ],
)
def test_assignments(text: str, expected: tuple[str, Any]) -> None:
    assert parse_assignment(text) == expected


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("seed", "is not KEY=VALUE"),
        ("sed=1", "did you mean seed?"),
        ("seed=", "cannot be read"),
        ("seed=1\nname='x'", "more than one value"),
        ("seed=" + "[" * 100000, "cannot be read"),
    ],
)
def test_wrong_assignments(text: str, part: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_assignment(text)
    assert part in str(caught.value) and str(caught.value).isprintable()
