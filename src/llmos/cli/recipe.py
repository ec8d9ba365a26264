"""`llmos recipe`: write, check, show and compare recipes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

from llmos.errors import UsageError
from llmos.recipe import (
    KEYS,
    Recipe,
    keys_markdown,
    load_recipe,
    parse_assignment,
    recipe_diff,
)
from llmos.recipe_text import toml_value
from llmos.storage import storage_errors, write_atomic

app = typer.Typer(no_args_is_help=True, help="Write, check, show and compare recipes.")

RecipeFile = Annotated[Path, typer.Argument(metavar="FILE", help="A recipe (TOML).")]


@app.command()
def new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The recipe to write.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="RECIPE", help="Start from this recipe's values."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value; may be repeated."),
    ] = None,
) -> None:
    """Write a recipe with all keys explained.

    Its name is that of FILE unless set with --set name=NAME.
    """
    with storage_errors(file):
        taken = file.exists() or file.is_symlink()
    if taken:
        raise UsageError(f"{file} exists and is left as it is: choose another name, or delete it")
    values = dict(parse_assignment(text) for text in assignments or [])
    slug = re.sub(r"[^a-z0-9_-]+", "-", file.stem.lower()).strip("-_")[:40]
    values.setdefault("name", slug or "recipe")
    start = load_recipe(source) if source else Recipe(name="new")
    recipe = start.with_values(values)
    write_atomic(file, recipe.to_toml().encode())
    typer.echo(f"wrote {file}: edit it, then run: llmos recipe check {shlex.quote(str(file))}")


@app.command()
def check(file: RecipeFile) -> None:
    """Print the name and sha256, or what is wrong.

    The sha256 is what the members agree on: all keys, defaults filled in.
    """
    recipe = load_recipe(file)
    typer.echo(f"{recipe.name} {recipe.sha256()}")


@app.command()
def show(file: RecipeFile) -> None:
    """Print every key with its value.

    Values that are the defaults are marked.
    """
    recipe = load_recipe(file)
    for name, value in recipe.flat().items():
        mark = "  # default" if value == KEYS[name].default else ""
        typer.echo(f"{name} = {toml_value(value)}{mark}")
    typer.echo(f"# sha256 {recipe.sha256()}")


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="A recipe (TOML).")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another recipe.")],
) -> None:
    """Print the keys whose values differ.

    Exit code: 0 the same, 1 different, 2 an error.
    """
    differences = recipe_diff(load_recipe(a), load_recipe(b))
    for name, value_a, value_b in differences:
        typer.echo(f"{name}: {toml_value(value_a)} -> {toml_value(value_b)}")
    if differences:
        raise typer.Exit(1)
    typer.echo("the recipes agree in every key")


@app.command()
def keys() -> None:
    """Print what every key means (Markdown)."""
    typer.echo(keys_markdown(), nl=False)
