"""`llmos storyworld`: small synthetic stories, parallel in several languages."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from llmos.data.storyworld.stories import LANGUAGES, write_stories

app = typer.Typer(help="Synthetic stories in several languages, told from one world.")

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go.")]
Stories = Annotated[int, typer.Option(help="How many stories.")]
Langs = Annotated[str, typer.Option(help="Languages, by commas.")]
Seed = Annotated[int, typer.Option(help="Another seed, another world of stories.")]
Start = Annotated[int, typer.Option(help="Number of the first story.")]
ALL = ",".join(LANGUAGES)


@app.command()
def write(
    folder: Folder, stories: Stories, langs: Langs = ALL, seed: Seed = 0, start: Start = 0
) -> None:
    """Write DIR/<language>.jsonl and DIR/card.json: the same stories in each language."""
    _tell(write_stories(folder, stories, _codes(langs), seed=seed, start=start))


@app.command()
def tasks(
    folder: Folder,
    stories: Stories,
    langs: Langs = ALL,
    seed: Seed = 0,
    start: Start = 0,
    joined: Annotated[
        bool,
        typer.Option(
            "--joined", help="What is asked of a story as one conversation: shorter, to train on."
        ),
    ] = False,
) -> None:
    """Write records that teach or judge every task about the stories, from their facts."""
    from llmos.tasks.storyworld import write_records

    _tell(write_records(folder, stories, _codes(langs), seed=seed, start=start, joined=joined))


def _codes(langs: str) -> list[str]:
    return [code.strip() for code in langs.split(",") if code.strip()]


def _tell(paths: Iterable[Path]) -> None:
    for path in paths:
        typer.echo(f"{path}  {path.stat().st_size:,} bytes")
