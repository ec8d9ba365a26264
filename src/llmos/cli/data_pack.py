"""`llmos data pack`: text into token shards, which a run maps into memory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmos.cli.generate import quiet_transformers
from llmos.cli.tokenizer import tokenizer_bytes
from llmos.errors import UsageError
from llmos.recipe import Recipe, load_recipe


def pack(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A prepared folder, or any other with text.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="SHARDS", help="The folder of shards.")],
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            "--tokenizer",
            metavar="FILE",
            help="A tokenizer.json or a folder with one; default: that of the recipe's model.base.",
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", metavar="R", help="The recipe that will train on the shards."),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes at once.")] = 1,
) -> None:
    """Tokenise the text in DIR into SHARDS, for `llmos train RECIPE --data SHARDS`.

    Stopped at any point, the same command goes on where it stood. The recipe decides what is held
    out and how documents are separated; without one, what a recipe with its defaults would.
    """
    quiet_transformers()
    from llmos.cli.data import StageProgress, need_data_extra

    need_data_extra()
    from llmos.data.shard_writing import pack_folder
    from llmos.models.base import base_vocabulary
    from llmos.models.tokenizer import tokenizer_from_bytes, tokenizer_to_bytes
    from llmos.models.vocabulary import Vocabulary
    from llmos.training.shard_material import pack_settings

    agreed = load_recipe(recipe) if recipe else Recipe(name="default")
    if tokenizer is not None:
        words = Vocabulary.of(tokenizer_from_bytes(tokenizer_bytes(tokenizer)))
    elif agreed.model.base:
        words = base_vocabulary(agreed.model.base)
    else:
        raise UsageError(
            "no tokenizer: add --tokenizer FILE, such as `llmos tokenizer train` writes, or a "
            "--recipe with a model.base"
        )
    content = tokenizer_to_bytes(words.tokenizer)
    settings = pack_settings(agreed, words, content)
    with StageProgress() as progress:
        shards = pack_folder(
            folder,
            out,
            content,
            settings,
            workers=workers,
            progress=lambda done, total: progress("tokenising", done, total),
        )
    train = [shard for shard in shards.shards if shard.split == "train"]
    tokens, size = sum(s.tokens for s in train), sum(s.bytes for s in train)
    typer.echo(
        f"{tokens:,} tokens of {sum(s.documents for s in train):,} documents to train on "
        f"({size:,} bytes, {size / max(1, tokens):.2f} a token)"
    )
    for split in ("validation", "test"):
        found = shards.size(split)
        typer.echo(f"held out for {split}: {found['units']:,} ({found['bytes']:,} bytes)")
    if shards.problems:
        typer.echo(f"not read: {shards.problems:,} files or records")
    typer.echo(f"train on it: llmos train RECIPE --data {out} --out RUN")
