"""`llmos tokenizer`: train one for all members, and see what it makes of each language."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from llmos.cli.train import parse_members
from llmos.errors import UsageError
from llmos.recipe import Recipe, load_recipe, parse_assignment
from llmos.storage import sha256_hex, storage_errors, write_atomic

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from llmos.models.tokenizers.fertility import Fertility

app = typer.Typer(no_args_is_help=True, help="Train a tokenizer; see what it makes of texts.")

FILE_NAME = "tokenizer.json"


@app.command()
def train(
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FILE|DIR", help="A new .json file, or a new folder."),
    ],
    text: Annotated[
        Path | None,
        typer.Argument(metavar="[TEXT]", help="The text of one organisation, file or folder."),
    ] = None,
    member: Annotated[
        list[str] | None,
        typer.Option("--member", metavar="NAME=PATH", help="A member and its text; repeat it."),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", metavar="RECIPE", help="The recipe that was agreed.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Without a recipe, change a value such as tokenizer.vocabulary_size=16000.",
        ),
    ] = None,
) -> None:
    """Train the tokenizer of a joint run, from the members' counts alone.

    Its file equals the one that the joint run of the same recipe and members agrees on, unless
    the recipe asks for noise. The held-out text of each is left out, and shows how it does.
    """
    if (text is None) == (not member):
        raise UsageError("give either TEXT of one organisation or --member NAME=PATH for each")
    if recipe is not None and assignments:
        raise UsageError("--set changes no recipe that was agreed: edit a copy of it instead")
    if recipe is None:
        values = dict(parse_assignment(assignment) for assignment in assignments or [])
        agreed = Recipe(name="tokenizer").with_values(values)
    else:
        agreed = load_recipe(recipe)
    if agreed.model.base:
        raise UsageError(
            f"model.base = {agreed.model.base!r} has its own tokenizer: leave the line out"
        )
    _require_new(out)
    members = parse_members(member) if member else {"": Path(text or "")}
    _train(agreed, members, out)


@app.command()
def report(
    tokenizer: Annotated[
        Path, typer.Argument(metavar="TOKENIZER", help="A tokenizer.json, or a model's folder.")
    ],
    texts: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT...", help="Files or folders, one for each language; NAME=PATH."
        ),
    ],
    parallel: Annotated[
        bool,
        typer.Option(
            "--parallel", help="The texts say the same: compare the tokens with the first's."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print tokens per word, bytes and characters per token, and what is not covered.

    Words are not counted in scripts without spaces, such as Chinese, Japanese and Thai. The
    columns "unk." and "bytes" are shares of the tokens: what the vocabulary does not cover, lost
    or as bytes.
    """
    from llmos.data.sources import read_source
    from llmos.models.tokenizers.fertility import fairness_gap, fertility, premiums

    found_tokenizer = _load(tokenizer)
    named = parse_members([t if "=" in t else f"{Path(t).name}={t}" for t in texts], "TEXT")
    data = Recipe(name="report").data
    found = {
        name: fertility(
            found_tokenizer, (d.text for d in read_source(path, data, "text").documents)
        )
        for name, path in named.items()
    }
    first = next(iter(found))
    costs = premiums(found, first) if parallel else {}
    if as_json:
        value: dict[str, Any] = {
            "vocabulary_size": found_tokenizer.get_vocab_size(),
            "texts": {name: _figures(fertile) for name, fertile in found.items()},
        }
        if parallel:
            value |= {"premiums": costs, "reference": first, "gap": fairness_gap(found)}
        typer.echo(json.dumps(value, ensure_ascii=False, indent=2))
        return
    _print(found, costs)
    if parallel:
        typer.echo(
            f"the dearest language takes {fairness_gap(found):.2f} times the tokens of the cheapest"
        )


def _train(recipe: Recipe, paths: Mapping[str, Path], out: Path) -> None:
    from llmos.models.disclosure import counts_from_bytes, counts_to_bytes
    from llmos.models.tokenizer import tokenizer_to_bytes
    from llmos.models.tokenizers.fertility import fertility
    from llmos.models.vocabulary import Vocabulary, train_joint_tokenizer
    from llmos.training.disclosed import disclosed_counts
    from llmos.training.material import Material

    counts: list[dict[str, int]] = []
    held_out: dict[str, list[str]] = {}
    for name, path in sorted(paths.items()):
        material = Material(path, recipe)
        disclosed, told = disclosed_counts(material, recipe.tokenizer)
        # Through the form on the wire, so that what a joint run would refuse is refused here.
        counts.append(counts_from_bytes(counts_to_bytes(disclosed)))
        held_out[name] = [d.text for d in (*material.split.validation, *material.split.test)]
        typer.echo(f"{name}: {told}" if name else str(told))
    tokenizer = train_joint_tokenizer(counts, recipe)
    data = tokenizer_to_bytes(tokenizer)
    if out.suffix == ".json":
        write_atomic(out, data)
    else:
        words = Vocabulary.of(tokenizer)
        with storage_errors(out):
            made = words.fast_tokenizer(
                recipe.model.context_length, segments=recipe.model.family == "bert"
            )
            made.save_pretrained(out)
    typer.echo(
        f"wrote {out}: {tokenizer.get_vocab_size()} tokens, {recipe.tokenizer.algorithm}, sha256 "
        f"{sha256_hex(data)}"
    )
    typer.echo("on held-out text:")
    _print({name or "all": fertility(tokenizer, texts) for name, texts in held_out.items()}, {})


def _require_new(out: Path) -> None:
    with storage_errors(out):
        taken = out.exists() and not (out.is_dir() and not any(out.iterdir()))
    if taken:
        raise UsageError(f"{out} exists and is left as it is: choose another name, or delete it")


def tokenizer_bytes(path: Path) -> bytes:
    """The tokenizer.json at a path, or in the folder there. Raises `UsageError`."""
    file = path / FILE_NAME if path.is_dir() else path
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read ({error.strerror or error}): give a tokenizer.json or the "
            "folder with one"
        ) from error


def _load(path: Path) -> Tokenizer:
    from llmos.models.tokenizer import tokenizer_from_bytes

    tokenizer = tokenizer_from_bytes(tokenizer_bytes(path))
    tokenizer.encode_special_tokens = True  # as in training: text cannot end a document
    return tokenizer


def _figures(found: Fertility) -> dict[str, float | int | None]:
    return {
        "texts": found.texts,
        "bytes": found.size,
        "characters": found.characters,
        "words": found.words,
        "tokens": found.tokens,
        "tokens_per_word": found.tokens_per_word,
        "bytes_per_token": found.bytes_per_token,
        "characters_per_token": found.characters_per_token,
        "unknown_share": found.unknown_share,
        "fallback_share": found.fallback_share,
    }


def _print(found: Mapping[str, Fertility], costs: Mapping[str, float]) -> None:
    table = Table()
    table.add_column("text", no_wrap=True)
    names = ["tokens", "a word", "bytes each", "chars each", "unk.", "bytes"]
    for name in [*names, *(["x first"] if costs else [])]:
        table.add_column(name, justify="right")
    for name, fertile in found.items():
        table.add_row(name, *_cells(fertile), *([f"{costs[name]:.2f}"] if costs else []))
    Console().print(table)


def _cells(found: Fertility) -> Iterable[str]:
    per_word = found.tokens_per_word
    yield f"{found.tokens:,}"
    yield "" if per_word is None else f"{per_word:.2f}"
    yield f"{found.bytes_per_token:.2f}"
    yield f"{found.characters_per_token:.2f}"
    yield f"{found.unknown_share:.2%}"
    yield f"{found.fallback_share:.2%}"
