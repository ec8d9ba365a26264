"""Recipes: the TOML file that members agree on, as a checked, hashable value.

A recipe is data between countries: readable, unable to execute anything, refused when it holds
an unknown key. What is agreed is `Recipe.sha256()`, the hash of all keys with defaults filled in.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from llmos.errors import RecipeError
from llmos.recipe_about import SLUG, SLUG_WORDS, about
from llmos.recipe_joint import (
    AggregationSection,
    AgreementSection,
    CompressionSection,
    EvaluationSection,
    PrivacySection,
    PublicationSection,
    RoundsSection,
    TokenizerSection,
)
from llmos.recipe_keys import (
    Key,
    check_value,
    keys_of,
    nearest,
    nearest_key,
    shown,
    shown_name,
)
from llmos.recipe_preparation import PreparationSection
from llmos.recipe_schema import (
    CheckpointSection,
    DataSection,
    LoraSection,
    ModelSection,
    ObjectiveSection,
    TrainingSection,
)
from llmos.recipe_text import recipe_markdown, recipe_toml
from llmos.records import canonical_json
from llmos.storage import sha256_hex

__all__ = [
    "KEYS",
    "RECIPE_VERSION",
    "AggregationSection",
    "AgreementSection",
    "CheckpointSection",
    "CompressionSection",
    "DataSection",
    "EvaluationSection",
    "LoraSection",
    "ModelSection",
    "ObjectiveSection",
    "PreparationSection",
    "PrivacySection",
    "PublicationSection",
    "Recipe",
    "RoundsSection",
    "TokenizerSection",
    "TrainingSection",
    "keys_markdown",
    "load_recipe",
    "parse_assignment",
    "parse_recipe",
    "recipe_diff",
    "recipe_from_dict",
]

RECIPE_VERSION = 1
DIMENSIONS = ("num_layers", "num_heads", "hidden_size")
SIZES: dict[str, tuple[int, int, int]] = {
    "tiny": (2, 2, 64),
    "10m": (6, 6, 288),
    "14m": (6, 6, 384),
    "124m": (12, 12, 768),  # GPT-2, BERT base, T5 base
    "350m": (24, 16, 1024),  # GPT-2 medium, BERT large, T5 large
    "1b": (18, 16, 2048),  # as wide as GPT-3 XL (arXiv 2005.14165, table 2.1; 24 blocks: 1.3b)
    "7b": (32, 32, 4096),  # GPT-3 6.7B, Llama 7B
}
"""Blocks, heads and width by the name of a size; T5 has as many blocks in each of its halves."""
LARGEST_FILE = 256 * 1024
"""bytes; the keys of a recipe fit many times over, and hostile TOML stays cheap to refuse."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe whose every value has been checked, however it was made.

    Raises `RecipeError` when a value or a pair of values does not fit.
    """

    version: int = field(default=RECIPE_VERSION, metadata=about("version of the recipe format"))
    name: str = field(
        metadata=about("short name of the run", pattern=SLUG, pattern_words=SLUG_WORDS)
    )
    description: str = field(default="", metadata=about("what the run is for, in your words"))
    languages: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "languages of the text, as BCP 47 tags; for the card, not for training",
            pattern=r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}",
            pattern_words="a tag such as en, zh or pt-BR",
        ),
    )
    seed: int = field(
        default=0,
        metadata=about(
            "start of every random choice: weights, order of text, resampling",
            minimum=0,
            maximum=2**32 - 1,
        ),
    )
    model: ModelSection = field(default_factory=ModelSection)
    tokenizer: TokenizerSection = field(default_factory=TokenizerSection)
    data: DataSection = field(default_factory=DataSection)
    preparation: PreparationSection = field(default_factory=PreparationSection)
    objective: ObjectiveSection = field(default_factory=ObjectiveSection)
    training: TrainingSection = field(default_factory=TrainingSection)
    lora: LoraSection = field(default_factory=LoraSection)
    checkpoint: CheckpointSection = field(default_factory=CheckpointSection)
    rounds: RoundsSection = field(default_factory=RoundsSection)
    aggregation: AggregationSection = field(default_factory=AggregationSection)
    compression: CompressionSection = field(default_factory=CompressionSection)
    privacy: PrivacySection = field(default_factory=PrivacySection)
    evaluation: EvaluationSection = field(default_factory=EvaluationSection)
    publication: PublicationSection = field(default_factory=PublicationSection)
    agreement: AgreementSection = field(default_factory=AgreementSection)

    def __post_init__(self) -> None:
        _check_version(self.version)
        for key_field in fields(self):
            name, value = key_field.name, getattr(self, key_field.name)
            section = SECTIONS.get(name)
            if section is None:
                checked = check_value(KEYS[name], value)
            elif isinstance(value, section):
                values = {leaf.name: getattr(value, leaf.name) for leaf in fields(section)}
                checked = section(
                    **{leaf: check_value(KEYS[f"{name}.{leaf}"], values[leaf]) for leaf in values}
                )
            else:
                raise RecipeError(f"{name} = {shown(value)} is not a section: write [{name}]")
            object.__setattr__(self, name, checked)
        _check_together(self)

    @property
    def total_steps(self) -> int:
        """Optimiser steps of a run alone."""
        return self.training.steps or self.rounds.count * self.rounds.local_steps

    def flat(self) -> dict[str, Any]:
        """Every value by dotted name, as in `{"training.learning_rate": 0.001}`."""
        values: dict[str, Any] = {}
        for name in KEYS:
            section, _, leaf = name.rpartition(".")
            values[name] = getattr(getattr(self, section) if section else self, leaf)
        return values

    def to_dict(self) -> dict[str, Any]:
        """All keys, defaults filled in, as JSON-ready nested dicts (tuples as lists)."""
        nested: dict[str, Any] = {}
        for name, value in self.flat().items():
            section, _, leaf = name.rpartition(".")
            place = nested.setdefault(section, {}) if section else nested
            place[leaf] = list(value) if isinstance(value, tuple) else value
        return nested

    def to_toml(self, *, comments: bool = True) -> str:
        """All keys as TOML that `parse_recipe` reads back as an equal recipe."""
        return recipe_toml(self.flat(), KEYS, SECTION_DOCS, comments)

    def agreed(self) -> dict[str, Any]:
        """What is hashed, signed and kept in the ledger, nested.

        All keys, but those that came `later` only where they differ from their default: so a
        recipe of an older llmos keeps its sha256.
        """
        nested = self.to_dict()
        for name, key in KEYS.items():
            section, _, leaf = name.rpartition(".")
            place = nested[section] if section else nested
            default = list(key.default) if isinstance(key.default, tuple) else key.default
            if key.about.later and place[leaf] == default:
                del place[leaf]
        return {name: value for name, value in nested.items() if value != {}}

    def canonical(self) -> bytes:
        """The RFC 8785 JSON of `agreed()`."""
        return canonical_json(self.agreed())

    def sha256(self) -> str:
        """SHA-256 of `canonical()`, 64 hexadecimal digits: what members agree on."""
        return sha256_hex(self.canonical())

    def with_values(self, values: Mapping[str, Any]) -> Recipe:
        """A new recipe with some keys changed: `with_values({"training.batch_size": 8})`.

        Raises `RecipeError` for an unknown key or a value that does not fit.
        """
        changed = self.to_dict()
        if values.get("model.size", self.model.size) != self.model.size:
            for leaf in DIMENSIONS:  # those of the size before
                del changed["model"][leaf]
        for name, value in values.items():
            if name not in KEYS:
                raise RecipeError(_unknown_key(name, value))
            section, _, leaf = name.rpartition(".")
            (changed[section] if section else changed)[leaf] = value
        return _build(changed)


SECTIONS: dict[str, Any] = {
    name: kind for name, kind in get_type_hints(Recipe).items() if is_dataclass(kind)
}
SECTION_DOCS = {name: (section.__doc__ or "").strip() for name, section in SECTIONS.items()}
KEYS: dict[str, Key] = keys_of(Recipe)


def keys_markdown() -> str:
    """The text of docs/recipe.md."""
    return recipe_markdown(KEYS, SECTION_DOCS)


def load_recipe(path: Path) -> Recipe:
    """The recipe in a TOML file.

    Raises `RecipeError` when the file cannot be read, is not a recipe, or breaks the schema.
    """
    source = str(path) if str(path).isprintable() else repr(str(path))
    try:
        if not path.is_file():
            what = "is not a file" if path.exists() else "does not exist"
            raise RecipeError(
                f"{source} {what}: check the path, or write a recipe with `llmos recipe new FILE`"
            )
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RecipeError(f"{source} cannot be read: {reason}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"{source} is not UTF-8 text (byte {error.start}): save it with the encoding UTF-8"
        ) from error
    return parse_recipe(text, source=source)


def parse_recipe(text: str, *, source: str = "recipe") -> Recipe:
    """The recipe in a TOML text; `source` opens each error message.

    Raises `RecipeError` when the text is not TOML or breaks the schema.
    """
    if len(text.encode(errors="replace")) > LARGEST_FILE:
        raise RecipeError(
            f"{source}: larger than {LARGEST_FILE // 1024} KiB, so not a recipe: check the path"
        )
    try:
        data = tomllib.loads(text)
    except RecursionError as error:
        raise RecipeError(f"{source}: not valid TOML: nested too deeply: simplify it") from error
    except ValueError as error:
        reason = " ".join(str(error).split())[:120]
        raise RecipeError(f"{source}: not valid TOML: {reason}: correct that place") from error
    return recipe_from_dict(data, source=source)


def recipe_from_dict(data: Mapping[str, Any], *, source: str = "recipe") -> Recipe:
    """The recipe in nested dicts, as `to_dict` writes them; missing keys get their defaults.

    Raises `RecipeError` when `data` breaks the schema.
    """
    try:
        return _build(data)
    except RecipeError as error:
        raise RecipeError(f"{source}: {error}") from error


def recipe_diff(a: Recipe, b: Recipe) -> list[tuple[str, Any, Any]]:
    """The keys whose values differ, as (dotted name, value in `a`, value in `b`)."""
    other = b.flat()
    return [(name, value, other[name]) for name, value in a.flat().items() if value != other[name]]


def parse_assignment(text: str) -> tuple[str, Any]:
    """`KEY=VALUE` of a command line as (dotted name, value), read by the type of the key.

    Text needs no quotes, lists may be written `en,fr`. Raises `RecipeError` for an unknown key or
    a value that cannot be read.
    """
    name, equals, raw = (part.strip() for part in text.partition("="))
    if not equals:
        raise RecipeError(f"{shown(text)} is not KEY=VALUE: write for example training.seed=1")
    key = KEYS.get(name)
    if key is None:
        raise RecipeError(_unknown_key(name, raw))
    if key.kind is str and not raw.startswith(('"', "'")):
        return name, raw
    if key.kind is tuple and not raw.startswith("["):
        return name, [item.strip() for item in raw.split(",") if item.strip()]
    try:
        read = tomllib.loads(f"value = {raw}")
    except (ValueError, RecursionError) as error:
        raise key.refuse(raw, "cannot be read as TOML") from error
    if list(read) != ["value"]:
        raise key.refuse(raw, "is more than one value")
    return name, read["value"]


def _build(data: Mapping[str, Any]) -> Recipe:
    """A recipe from nested dicts; the version is looked at first, as it decides what is known."""
    _check_version(data.get("version", RECIPE_VERSION))
    values: dict[str, Any] = {}
    for name, value in data.items():
        section = SECTIONS.get(name)
        if section is None:
            if name not in KEYS:
                raise RecipeError(_unknown_section(name, value))
            values[name] = value
            continue
        if not isinstance(value, Mapping):
            raise RecipeError(f"{name} = {shown(value)} is not a section: write [{name}]")
        for leaf in value:
            if f"{name}.{leaf}" not in KEYS:
                raise RecipeError(_unknown_key(f"{name}.{leaf}", value[leaf]))
        values[name] = section(**(_sized(value) if name == "model" else value))
    if "name" not in values:
        raise RecipeError('has no name: add a line such as name = "my-run" at the top')
    return Recipe(**values)


def _sized(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values of [model] with the dimensions of its size, where it names one."""
    size = SIZES.get(str(model.get("size", "")))
    return {**dict(zip(DIMENSIONS, size, strict=True)), **model} if size else model


def _check_version(version: Any) -> None:
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise RecipeError(
            f"version = {shown(version)} is not a recipe version: write version = {RECIPE_VERSION}"
        )
    if version > RECIPE_VERSION:
        raise RecipeError(
            f"recipe version {shown(version)} is newer than this llmos understands "
            f"({RECIPE_VERSION}): upgrade llmos"
        )


def _unknown_key(name: str, value: Any) -> str:
    like = nearest_key(name, KEYS)
    hint = f"did you mean {like}?" if like else "`llmos recipe keys` lists all keys"
    return f"unknown key {shown_name(name)} (= {shown(value)}): {hint}"


def _unknown_section(name: str, value: Any) -> str:
    like = nearest(name, SECTIONS)
    if isinstance(value, Mapping) or (like and isinstance(value, list)):
        hint = f"did you mean [{like}]?" if like else f"the sections are {', '.join(SECTIONS)}"
        return f"unknown section [{shown_name(name)}]: {hint}"
    return _unknown_key(name, value)


def _check_together(recipe: Recipe) -> None:
    """The rules between keys."""
    _check_model(recipe.model)
    _check_lengths(recipe)
    _check_objective(recipe)
    _check_tokenizer(recipe)
    data, agreement = recipe.data, recipe.agreement
    if data.validation + data.test >= 1:
        raise RecipeError(
            f"data.validation = {data.validation} and data.test = {data.test} leave nothing to "
            "train on: lower them so that their sum is below 1"
        )
    if recipe.evaluation.select == "best" and data.validation == 0:
        raise RecipeError(
            "evaluation.select = 'best' needs validation text, but data.validation = 0: raise it, "
            'or write select = "last"'
        )
    if agreement.members and agreement.quorum > len(agreement.members):
        raise RecipeError(
            f"agreement.quorum = {agreement.quorum} is more than the {len(agreement.members)} "
            "members named: lower it, or name all members"
        )


def _check_model(model: ModelSection) -> None:
    if model.base:
        return  # its dimensions are those of the base
    head, rest = divmod(model.hidden_size, model.num_heads)
    if rest:
        raise RecipeError(
            f"model.hidden_size = {model.hidden_size} is not divisible by model.num_heads = "
            f"{model.num_heads}: choose a multiple, such as {(head + 1) * model.num_heads}"
        )
    if model.family == "llama" and head % 2:
        raise RecipeError(
            f"model.hidden_size = {model.hidden_size} gives each head an odd width ({head}), which "
            "llama's rotary positions cannot use: choose an even multiple of model.num_heads"
        )
    groups = model.num_key_value_heads
    if groups and (model.family != "llama" or model.num_heads % groups):
        raise RecipeError(
            f"model.num_key_value_heads = {groups} needs the family llama and must divide "
            f"model.num_heads = {model.num_heads}: change it, or leave the line out"
        )


def _check_tokenizer(recipe: Recipe) -> None:
    family = recipe.model.family
    if recipe.tokenizer.algorithm == "wordpiece" and family != "bert" and not recipe.model.base:
        raise RecipeError(
            "tokenizer.algorithm = 'wordpiece' loses white space, which model.family = "
            f"{shown(family)} has to write: choose byte_bpe or unigram, or the family bert"
        )


def _check_lengths(recipe: Recipe) -> None:
    model, training = recipe.model, recipe.training
    for name, value in (
        ("training.sequence_length", training.sequence_length),
        ("evaluation.stride", recipe.evaluation.stride),
    ):
        if value > model.context_length:
            raise RecipeError(
                f"{name} = {value} is longer than model.context_length = {model.context_length}: "
                "lower the first or raise the second"
            )


FAMILIES_OF = {
    "causal_lm": ("gpt2", "llama"),
    "instruction": ("gpt2", "llama"),
    "masked_lm": ("bert",),
    "span_corruption": ("t5",),
    "seq2seq": ("t5",),
    "classification": ("gpt2", "llama", "bert", "t5"),
    "extractive_qa": ("gpt2", "llama", "bert", "t5"),
}
"""Which families of new models can learn an objective."""


def _check_objective(recipe: Recipe) -> None:
    objective, model = recipe.objective, recipe.model
    families = FAMILIES_OF[objective.name]
    if not model.base and model.family not in families:
        raise RecipeError(
            f"objective.name = {objective.name!r} cannot be learnt by model.family = "
            f"{model.family!r}: choose the family {' or '.join(families)}"
        )
    if objective.name == "classification" and len(objective.labels) < 2:
        raise RecipeError(
            f"objective.labels = {shown(list(objective.labels))} are too few to classify: name "
            'at least two, such as ["negative", "positive"]'
        )
