"""`llmos data`: from raw text to a clean, documented folder that a run can train on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from llmos.cli import data_crawl, data_optout, data_pack, data_publish
from llmos.errors import UsageError
from llmos.recipe import Recipe, load_recipe
from llmos.records import JSON

app = typer.Typer(
    help="Prepare text: read, clean, deduplicate, document; it stays at home.",
    no_args_is_help=True,
)
STAGES = {
    "clean": "reading and cleaning",
    "dedup": "comparing for duplicates",
    "write": "writing",
    "finish": "checking, writing the card",
}


@app.command()
def prepare(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="Files, folders, or the name of a data set."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The new folder.")],
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", metavar="R", help="The recipe whose [preparation] holds."),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes at once; default: one a core.")
    ] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1,
    name: Annotated[str, typer.Option("--name", help="Name of the data on its card.")] = "",
    licence: Annotated[
        str, typer.Option("--licence", help="SPDX licence of sources that state none.")
    ] = "",
    protected: Annotated[
        Path | None,
        typer.Option("--protected", metavar="FILE", help="Patterns never to be trained on."),
    ] = None,
    optout: Annotated[
        list[Path] | None,
        typer.Option("--optout", metavar="FILE", help="Domains that opted out; repeat it."),
    ] = None,
    decontaminate: Annotated[
        list[Path] | None,
        typer.Option("--decontaminate", metavar="PATH", help="Evaluation set; repeat it."),
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", metavar="FILE", help="Also count its tokens.")
    ] = None,
    keep_dropped: Annotated[
        bool, typer.Option("--keep-dropped", help="Keep what is dropped in DIR/dropped.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew what was not finished in DIR.")
    ] = False,
    executor: Annotated[
        str, typer.Option("--executor", help="Where tasks run: local, slurm or ray.")
    ] = "local",
    executor_option: Annotated[
        list[str] | None,
        typer.Option(
            "--executor-option", metavar="KEY=VALUE", help="Such as partition=cpu; repeat it."
        ),
    ] = None,
) -> None:
    """Read SOURCES, clean and deduplicate them into DIR, and write their data card.

    Stopped at any point, the same command goes on where it stood. DIR/card.md says what came of it;
    `llmos train RECIPE --data DIR` trains on it.
    """
    need_data_extra()
    from llmos.data.preparation.executors import EXECUTORS, Where
    from llmos.data.preparation.prepare import prepare as run
    from llmos.data.preparation.settings import Settings

    if executor not in EXECUTORS:
        raise UsageError(f"--executor {executor} is not one of {', '.join(EXECUTORS)}: name one")
    agreed = load_recipe(recipe) if recipe else Recipe(name="default")
    settings = Settings(
        sources=tuple(sources),
        name=name,
        record=_record(agreed),
        data=agreed.data,
        rules=agreed.preparation,
        recipe_sha256=agreed.sha256() if recipe else "",
        licence=licence,
        protected=str(protected or ""),
        optouts=tuple(map(str, optout or ())),
        decontaminate=tuple(map(str, decontaminate or ())),
        tokenizer=str(tokenizer or ""),
        keep_dropped=keep_dropped,
    )
    where = Where(executor, workers, dict(_option(text) for text in executor_option or ()))
    with StageProgress() as progress:
        card = run(settings, out, where, restart=restart, progress=progress)
    if card is None:
        typer.echo(
            f"handed over to Slurm; when all jobs are done, {out / 'card.md'} tells the rest"
        )
        return
    typer.echo(summary(card))
    typer.echo(f"\nall of it: {out / 'card.md'}; train on it: llmos train RECIPE --data {out} ...")


def need_data_extra() -> None:
    """Raise `UsageError` where the libraries that read and clean text are not installed."""
    try:
        import datatrove  # noqa: F401
        import orjson  # noqa: F401
        import py3langid  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"{error.name} is not installed: install what reads and cleans text with "
            "pip install 'llmos[data]'"
        ) from error


def _record(recipe: Recipe) -> str:
    if recipe.objective.name == "causal_lm":
        return "text"
    from llmos.training.objectives import record_of

    return record_of(recipe)


def _option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise UsageError(f"--executor-option {text!r} is not KEY=VALUE, such as partition=cpu")
    return key, value


class StageProgress:
    """A bar for each stage on a terminal, a line for each elsewhere."""

    def __init__(self) -> None:
        self.console = Console()
        self.bar = Progress(
            TextColumn("{task.description:28}"), BarColumn(), MofNCompleteColumn(),
            console=self.console,
        ) if self.console.is_terminal else None  # fmt: skip
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> StageProgress:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` tasks of a stage are finished."""
        words = STAGES.get(stage, stage)
        if self.bar is None:
            if done == total and stage not in self.tasks:
                self.tasks[stage] = TaskID(0)
                typer.echo(f"{words}: {total} of {total} tasks")
            return
        if stage not in self.tasks:
            self.tasks[stage] = self.bar.add_task(words, total=total)
        self.bar.update(self.tasks[stage], completed=done)


def summary(card: JSON) -> str:
    """What came of a preparation, in a few lines."""
    read, kept = card["read"], card["kept"]
    lines = [
        f"read {read['documents']:,} documents ({read['bytes'] / 1e6:,.1f} MB), kept "
        f"{kept['documents']:,} ({kept['bytes'] / 1e6:,.1f} MB) in "
        f"{', '.join(card['languages']) or 'no known language'}"
    ]
    dropped = sorted(card["dropped"].items(), key=lambda item: (-item[1], item[0]))
    lines += [f"  dropped {count:>8,}  {reason}" for reason, count in dropped[:12]]
    if len(dropped) > 12:
        lines.append(f"  and {sum(c for _, c in dropped[12:]):,} for {len(dropped) - 12} reasons")
    lines += [f"  changed {count:>8,}  {what}" for what, count in card["changed"].items()]
    for reason, count in card["problems"].items():
        lines.append(f"  not read {count:>7,}  {reason}")
    if card["problems"]:
        lines.append("  which: problems.jsonl")
    return "\n".join(lines)


app.command()(data_crawl.crawl)
app.command()(data_pack.pack)
app.command()(data_publish.publish)
app.command()(data_optout.optout)
