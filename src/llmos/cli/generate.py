"""`llmos generate`: write text with a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from llmos.cli.texts import whole


def generate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A model folder, or a run.")],
    prompt: Annotated[str, typer.Argument(help="The text to continue.")] = "",
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", metavar="N", help="Stop after N tokens.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="0 takes the likeliest token each time.")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", metavar="K", help="Sample from the K likeliest tokens.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Makes sampling repeatable.")] = None,
) -> None:
    """Continue PROMPT with the model in FOLDER; the text appears as it is written."""
    quiet_transformers()
    whole(prompt, "PROMPT")
    from llmos.models.generate import generate as pieces

    stream = pieces(
        folder,
        prompt,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        seed=seed,
    )
    typer.echo(prompt, nl=False)
    for piece in stream:
        typer.echo(piece, nl=False)
    typer.echo()


def quiet_transformers() -> None:
    """Keep transformers' progress bars and hints out of our output, and off the network."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
