"""`llmos evaluate`, `llmos compare-results`: judge models, and say which is better."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmos.cli.generate import quiet_transformers
from llmos.errors import UsageError

if TYPE_CHECKING:
    from llmos.provenance.results import Result
    from llmos.provenance.signing import SigningKey

KEY = Path("~/.config/llmos/key.pem")


def evaluate(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="A folder, a hub id in the local cache, or the URL of an OpenAI-compatible "
            "service; with --add: results.",
        ),
    ] = None,
    suite: Annotated[
        str, typer.Option("--suite", metavar="S", help="A suite's YAML file, or one of ours.")
    ] = "public",
    data: Annotated[
        Path,
        typer.Option(
            "--data", metavar="DIR", envvar="LLMOS_DATA", help="The folder of the suite's data."
        ),
    ] = Path(),
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The result; MODEL-SUITE.json.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="This benchmark only; may be repeated."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=0, metavar="N", help="N items of each benchmark at most.")
    ] = 0,
    key: Annotated[
        Path, typer.Option("--key", metavar="FILE", help="Signs the result; made on first use.")
    ] = KEY,
    link: Annotated[
        list[str] | None,
        typer.Option(
            "--link",
            metavar="NAME=URL",
            help="card, recipe, ledger, paper (also an arXiv id) or code; may be repeated.",
        ),
    ] = None,
    trained_on: Annotated[
        list[Path] | None,
        typer.Option(
            "--trained-on",
            metavar="DIR",
            help="Text from llmos data prepare, or a card.json: look for the items; repeatable.",
        ),
    ] = None,
    harness: Annotated[
        Path | None,
        typer.Option(
            "--harness",
            metavar="DIR",
            help="lm-evaluation-harness tasks (YAML) instead of a suite; choose by --only.",
        ),
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Ask all items again, whatever FILE.items has kept.")
    ] = False,
    add: Annotated[
        bool, typer.Option("--add", help="Add up members' results of one model and suite.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the signed result.")] = False,
) -> None:
    """Measure MODEL by a suite, and write a signed result.

    What the model answered stays beside the result, in the folder FILE.items: an evaluation that
    broke goes on from there. Of a service's answers those of a day ago are asked again: nobody can
    tell whether its model is still the same. The result holds figures only; it can be sent.
    """
    from llmos.provenance.signing import open_key

    named = models or []
    if not named:
        raise UsageError("no model: name a folder, a hub id or a URL; llmos evaluate --help")
    signing = open_key(key.expanduser())
    if add:
        result = _added([Path(name) for name in named], out, signing)
    elif len(named) > 1:
        raise UsageError(
            f"{len(named)} models: evaluate each to a result, then llmos compare-results A B"
        )
    else:
        quiet_transformers()
        target = out or Path(f"{_slug(named[0])}-{_slug(str(harness or suite))}.json")
        if harness:
            result = _by_harness(named[0], harness, only or [], target, signing, link or [], limit)
        else:
            result = _by_suite(
                named[0], suite, only or [], data, target, signing, link or [], limit,
                trained_on or [], anew,
            )  # fmt: skip
    if as_json:
        typer.echo(Path(result.name).read_text(encoding="utf-8"), nl=False)
    else:
        _print(result)


def _slug(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", Path(text).stem or text).strip("-.")[:60] or "model"


def _by_suite(
    model: str,
    suite: str,
    only: list[str],
    data: Path,
    out: Path,
    key: SigningKey,
    links: list[str],
    limit: int,
    trained_on: list[Path],
    anew: bool,
) -> Result:
    from llmos.evaluation.contamination import contamination
    from llmos.evaluation.evaluate import evaluate as measure
    from llmos.evaluation.suites import load_suite

    wanted = load_suite(suite)
    wanted = wanted.only(only) if only else wanted
    checked = contamination(wanted, data, trained_on) if trained_on else None
    done = measure(
        wanted, model, data=data, out=out, key=key, links=links, limit=limit,
        contamination=checked, told=_tell, anew=anew,
    )  # fmt: skip
    if answered := sum(done.kept.values()):
        typer.echo(
            f"{answered} answers are those of an evaluation before (--anew asks again)", err=True
        )
    for name, reason in done.left_out.items():
        typer.echo(f"{name}: left out: {reason}", err=True)
    return done.result


def _by_harness(
    model: str,
    folder: Path,
    tasks: list[str],
    out: Path,
    key: SigningKey,
    links: list[str],
    limit: int,
) -> Result:
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    from llmos.evaluation.harness import run_harness
    from llmos.evaluation.subject import opened

    engine, subject = opened(model, links)
    return run_harness(engine, subject, folder=folder, tasks=tasks, out=out, key=key, limit=limit)


def _added(paths: list[Path], out: Path | None, key: SigningKey) -> Result:
    from llmos.evaluation.adding import add_results
    from llmos.provenance.results import read_result, write_result

    if out is None:
        raise UsageError("no --out: name the file of the joint result")
    return write_result(out, add_results([read_result(path) for path in paths]), key)


def _tell(name: str, done: int, total: int) -> None:
    typer.echo(f"{name}: {done} of {total} items", err=True)


def _print(result: Result) -> None:
    from llmos.metrics.score import Score

    for part in result.benchmarks:
        typer.echo(f"{part['name']} ({part['task']}, {part['n']} items, by {part['how']})")
        for score in part["scores"]:
            typer.echo(f"  {Score.from_json(score)}  {score['settings']}")
        found = result.body.get("contamination", {}).get("benchmarks", {}).get(part["name"], {})
        if "found" in found:
            typer.echo(f"  {found['found']} of {found['items']} items stand in the training text")
        if "cleaned_of" in found:
            was = "was" if found["cleaned_of"] else "was not"
            typer.echo(f"  by its card the training text {was} cleaned of these items")
    typer.echo(f"wrote {result.name}, signed by {result.signer[:16]}")


def compare_results(
    a: Annotated[Path, typer.Argument(metavar="A", help="A result of llmos evaluate.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another model's, on the same suite.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say in which metrics A and B differ, item by item, and whether it could be chance.

    Paired bootstrap and approximate randomisation; p adjusted for the number of metrics (Holm).
    """
    from dataclasses import asdict

    from llmos.evaluation.comparing import compare_results as compare

    found = compare(a, b)
    if as_json:
        records = [{**asdict(one), "better": one.better} for one in found]
        typer.echo(json.dumps(records, indent=1))
        return
    for one in found:
        d = one.difference
        verdict = {"a": f"{a.name} is better", "b": f"{b.name} is better"}
        typer.echo(
            f"{one.benchmark} {one.metric}: {d.a:.4f} - {d.b:.4f} = {d.value:+.4f} "
            f"[{d.low:+.4f}, {d.high:+.4f}], p = {one.p_adjusted:.4f}: "
            f"{verdict.get(one.better, 'no difference established')}"
        )
