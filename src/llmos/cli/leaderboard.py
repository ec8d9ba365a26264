"""`llmos leaderboard`: tables of signed results."""

from __future__ import annotations

import json
import math
import re
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from llmos.errors import UsageError

_KEY = re.compile(r"[0-9a-f]{64}")


def leaderboard(
    results: Annotated[
        list[str],
        typer.Argument(
            metavar="RESULT...", help="Results, folders of them, or the address of a hub."
        ),
    ],
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page.")
    ] = None,
    signer: Annotated[
        list[str] | None,
        typer.Option(
            "--signer", metavar="NAME=KEY", help="Whose a public key is; may be repeated."
        ),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Of the page.")] = "Leaderboard",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rank models by their signed results; those whose intervals overlap share a place.

    Exit code 1 where a result was refused because it was changed after signing.
    """
    from llmos.evaluation.leaderboard import leaderboard as ranked
    from llmos.evaluation.leaderboard_page import page
    from llmos.storage import write_atomic

    with tempfile.TemporaryDirectory() as fetched:
        files, known = _files(results, Path(fetched))
        board = ranked(files, {**known, **dict(map(_signer, signer or []))})
    if html:
        write_atomic(html, page(board, title).encode())
    if as_json:
        typer.echo(json.dumps(board.to_json(), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        for table in board.tables:
            better = "higher" if table.higher_is_better else "lower"
            typer.echo(
                f"{table.task}: {table.dataset}, {table.metric} ({better} is better), "
                f"n = {table.n}, {table.settings}"
            )
            for one in table.entries:
                s = one.score
                marks = f"  ({'; '.join(one.marks)})" if one.marks else ""
                is_known = math.isfinite(s.low) and math.isfinite(s.high)
                ends = f"{s.low:.4f}, {s.high:.4f}" if is_known else "no interval"
                typer.echo(
                    f"  {one.place:>3}  {s.value:>9.4f} [{ends}]  "
                    f"{one.model}, signed by {one.signer}{marks}"
                )
        if html:
            typer.echo(f"wrote {html}")
    for reason in board.refused.values():
        typer.echo(f"refused: {reason}", err=True)
    if board.refused:
        raise typer.Exit(1)


def _files(named: list[str], fetched: Path) -> tuple[list[Path], dict[str, str]]:
    """The files of results, those of a hub fetched into a folder; and its members by their keys."""
    found: list[Path] = []
    known: dict[str, str] = {}
    for name in named:
        path = Path(name)
        if name.startswith(("http://", "https://")):
            from llmos.evaluation.hub_results import fetch_results

            files, signers = fetch_results(name, fetched)
            found += files
            known |= signers
        else:
            found += sorted(path.glob("*.json")) if path.is_dir() else [path]
    return found, known


def _signer(text: str) -> tuple[str, str]:
    name, _, key = text.partition("=")
    if not name or not _KEY.fullmatch(key):
        raise UsageError(f"the signer {text[:40]!r} is none: write NAME=KEY, 64 hexadecimal digits")
    return key, name
