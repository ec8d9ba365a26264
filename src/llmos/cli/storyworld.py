"""`llmos storyworld`: small synthetic stories, parallel in several languages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmos.data.storyworld.stories import LANGUAGES, write_stories

app = typer.Typer(help="Synthetic stories in several languages, told from one world.")


@app.command()
def write(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go.")],
    stories: Annotated[int, typer.Option(help="How many stories.")],
    langs: Annotated[str, typer.Option(help="Languages, by commas.")] = ",".join(LANGUAGES),
    seed: Annotated[int, typer.Option(help="Another seed, another world of stories.")] = 0,
    start: Annotated[int, typer.Option(help="Number of the first story.")] = 0,
) -> None:
    """Write DIR/<language>.jsonl and DIR/card.json: the same stories in each language."""
    languages = [code.strip() for code in langs.split(",") if code.strip()]
    for path in write_stories(folder, stories, languages, seed=seed, start=start):
        typer.echo(f"{path}  {path.stat().st_size:,} bytes")


@app.command()
def tasks(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go.")],
    stories: Annotated[int, typer.Option(help="How many stories.")],
    langs: Annotated[str, typer.Option(help="Languages, by commas.")] = ",".join(LANGUAGES),
    seed: Annotated[int, typer.Option(help="Another seed, another world of stories.")] = 0,
    start: Annotated[int, typer.Option(help="Number of the first story.")] = 0,
) -> None:
    """Write records that teach or judge every task about the stories, from their facts."""
    from llmos.tasks.storyworld import write_records

    languages = [code.strip() for code in langs.split(",") if code.strip()]
    for path in write_records(folder, stories, languages, seed=seed, start=start):
        typer.echo(f"{path}  {path.stat().st_size:,} bytes")
