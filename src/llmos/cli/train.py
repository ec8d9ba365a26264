"""`llmos train`: one organisation alone, or a joint run of several on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from llmos.cli.generate import quiet_transformers
from llmos.cli.progress import RunProgress, run_with_progress
from llmos.cli.progress_alone import AloneProgress
from llmos.cli.publish import Listener, Publication, bring
from llmos.cli.runs import print_alone_outcome, print_outcome
from llmos.errors import UsageError
from llmos.recipe import Recipe, load_recipe
from llmos.training.report import is_alone


def train(
    recipe: Annotated[
        Path | None, typer.Argument(metavar="RECIPE", help="The recipe that was agreed (TOML).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="RUN", help="The new folder for the run.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="PATH", help="Text of one organisation that trains alone."),
    ] = None,
    member: Annotated[
        list[str] | None,
        typer.Option("--member", metavar="NAME=PATH", help="A member and its text; repeat it."),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Also train alone and pooled, and say who gained."),
    ] = False,
    processes: Annotated[
        bool, typer.Option("--processes", help="A process for each member (the same bits).")
    ] = False,
    parallel: Annotated[
        str,
        typer.Option(
            "--parallel",
            metavar="KIND",
            help="ddp or fsdp: how processes that torchrun started share one model (--data).",
        ),
    ] = "ddp",
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key",
            metavar="NAME=FILE",
            help="A member's own signing key, as it agreed with on a hub; with --data: FILE.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Agree on this seed instead of the recipe's (also the split)."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="RUN", help="Go on with a run that was stopped."),
    ] = None,
    publish: Annotated[
        str | None,
        typer.Option(
            "--publish",
            metavar="HUB/OWNER/NAME",
            help="Tell a hub of the run while it lasts, and publish it there at its end.",
        ),
    ] = None,
) -> None:
    """Train RECIPE into the folder given by --out, or go on with --resume.

    With --data one organisation trains alone. With --member (at least two) the members train
    jointly, each on its own text, over a folder on this machine.
    """
    quiet_transformers()
    publication = Publication(publish) if publish else None
    if resume is not None:
        given: dict[str, object] = {
            "RECIPE": recipe,
            "--out": out,
            "--data": data,
            "--member": member,
        }
        given |= {"--key": key, "--seed": seed}
        extra = [name for name, value in given.items() if value is not None]
        if extra or compare or processes:
            raise UsageError(
                f"--resume takes no {', '.join(extra) or 'other options'}: "
                "a run keeps what it was started with"
            )
        go_on(resume, parallel, publication)
        return
    if recipe is None or out is None:
        raise UsageError(
            "a new run needs RECIPE and --out RUN; an old one goes on with --resume RUN"
        )
    agreed = load_recipe(recipe)
    if seed is not None:
        agreed = agreed.with_values({"seed": seed})
    if data is not None:
        if member or compare or processes:
            raise UsageError("--data trains alone: leave out --member, --compare and --processes")
        if len(key or []) > 1:
            raise UsageError("--data trains alone: give one --key FILE")
        own = Path(key[0]).expanduser() if key else None
        start_alone(agreed, out, data, parallel, publication, own)
        return
    members = parse_members(member) if member else None
    keys = {name: file.expanduser() for name, file in parse_members(key or [], "--key").items()}
    start(
        agreed,
        out,
        members=members,
        compare=compare,
        processes=processes,
        publication=publication,
        keys=keys,
    )


def start(
    recipe: Recipe,
    out: Path,
    *,
    members: dict[str, Path] | None = None,
    compare: bool = False,
    processes: bool = False,
    publication: Publication | None = None,
    keys: Mapping[str, Path] | None = None,
) -> None:
    """Start a joint run with live progress and print its outcome; `llmos demo` does too."""
    from llmos.federation import local

    if publication:
        publication.prepare(recipe, list(members or ()), keys)
    run_with_progress(
        out,
        RunProgress(recipe),
        _told(
            publication,
            lambda listen: local.train(
                recipe,
                out=out,
                members=members,
                compare=compare,
                processes=processes,
                keys=keys,
                listener=listen,
            ),
        ),
    )
    print_outcome(out)
    if publication:
        bring(out, publication.address)


def _told(
    publication: Publication | None, work: Callable[[Listener], object]
) -> Callable[[Listener], object]:
    """`work`, of which a hub is told where it is to be published."""
    return publication.around(work) if publication else work


def start_alone(
    recipe: Recipe,
    out: Path,
    data: Path,
    parallel: str,
    publication: Publication | None = None,
    key: Path | None = None,
) -> None:
    """Train alone with live progress and print the outcome."""
    from llmos.training import alone
    from llmos.training.parallel import processes_from_environment

    with processes_from_environment(parallel) as processes:
        publication = publication if processes.is_first else None
        if publication:
            publication.prepare(recipe, ())
        run_with_progress(
            out,
            AloneProgress(recipe),
            _told(
                publication,
                lambda listen: alone.start_alone(
                    recipe, data, out, key=key, processes=processes, listener=listen
                ),
            ),
        )
        if processes.is_first:
            print_alone_outcome(out)
    if publication:
        bring(out, publication.address)


def go_on(run: Path, parallel: str = "ddp", publication: Publication | None = None) -> None:
    """Resume a run with live progress and print its outcome."""
    if is_alone(run):
        from llmos.training import alone
        from llmos.training.parallel import processes_from_environment

        recipe = load_recipe(run / "recipe.toml")
        with processes_from_environment(parallel) as processes:
            publication = publication if processes.is_first else None
            if publication:
                publication.prepare(recipe, ())
            run_with_progress(
                run,
                AloneProgress(recipe),
                _told(
                    publication,
                    lambda listen: alone.resume_alone(run, processes=processes, listener=listen),
                ),
            )
            if processes.is_first:
                print_alone_outcome(run)
    else:
        from llmos.federation import local

        members = local.read_settings(run).members
        recipe = load_recipe(run / "recipe.toml")
        if publication:
            homes = {name: run / "members" / name / "key.pem" for name in members}
            publication.prepare(recipe, (), homes)
        run_with_progress(
            run,
            RunProgress(recipe),
            _told(publication, lambda listen: local.resume(run, listen)),
        )
        print_outcome(run)
    if publication:
        bring(run, publication.address)


def parse_members(arguments: list[str], option: str = "--member") -> dict[str, Path]:
    """`NAME=PATH` arguments as a dict. Raises `UsageError` for other forms and repeated names."""
    members: dict[str, Path] = {}
    for argument in arguments:
        name, equals, path = argument.partition("=")
        if not (name and equals and path):
            raise UsageError(f"{option} {argument!r} is not NAME=PATH, for example en=texts/en")
        if name in members:
            raise UsageError(f"member {name!r} is named twice: give each its own name")
        members[name] = Path(path)
    return members
