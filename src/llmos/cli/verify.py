"""`llmos verify`: check a run's chain, signatures, files and merges."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmos.errors import UsageError

if TYPE_CHECKING:
    from llmos.federation.verify import Verification
    from llmos.hub.runs.examining import Examined


def verify(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, or a ledger.")],
    heads: Annotated[
        list[Path] | None,
        typer.Option(
            "--heads", metavar="FILE", help="A member's own copy of the ledger; may be repeated."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check RUN: exit code 0 when all holds, 1 when something does not.

    The chain of the ledger, all signatures, the closing entry, the hash of every file, members'
    own copies of the ledger, and every merge computed again from the updates and compared bit for
    bit. What it cannot prove is said at the end. Of a ledger alone (ledger.jsonl, as a hub gives
    it to anybody) all is checked that needs no other file.
    """
    result = _of_ledger(run, heads) if run.is_file() else _of_run(run, heads)
    if as_json:
        record = {
            "ok": result.ok,
            "checks": [asdict(check) for check in result.checks],
            "cannot_prove": result.cannot_prove,
        }
        typer.echo(json.dumps(record, indent=1))
    else:
        print_verification(result)
    raise typer.Exit(0 if result.ok else 1)


def _of_run(run: Path, heads: list[Path] | None) -> Verification:
    from llmos.federation.verify import verify_run

    return verify_run(run, heads or ())


def _of_ledger(ledger: Path, heads: list[Path] | None) -> Examined:
    from llmos.hub.runs.examining import LARGEST, examine

    if heads:
        raise UsageError("--heads needs the folder of a run, not a ledger alone")
    if ledger.stat().st_size > LARGEST:
        raise UsageError(f"{ledger} is no ledger: one has at most {LARGEST:,} bytes")
    return examine(ledger.read_bytes())


def print_verification(result: Verification | Examined) -> None:
    """Print a verification for people."""
    for check in result.checks:
        typer.echo(f"{'FAILED' if check.problems else 'ok':<7}{check.name}: {check.detail}")
        for problem in check.problems:
            typer.echo(f"         {problem}")
    if result.ok:
        typer.echo("verified: all of the above holds. What this cannot prove:")
    else:
        typer.echo(f"NOT verified: {len(result.problems)} problem(s). What this cannot prove:")
    for limit in result.cannot_prove:
        typer.echo(f"  - {limit}")
