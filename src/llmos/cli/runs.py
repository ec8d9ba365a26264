"""`llmos runs`: list runs, and show one with its curves and its table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from llmos.cli.progress_alone import figures
from llmos.curves import Series, svg_chart, terminal_chart
from llmos.errors import LLMOSError, UsageError
from llmos.records import JSON
from llmos.storage import write_atomic
from llmos.training.report import is_alone, report_alone

app = typer.Typer(invoke_without_command=True, help="List runs; show one.")

MOST_CURVES = 8


@app.callback()
def list_runs(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Option("--in", metavar="DIR", help="Where to look for runs.")
    ] = Path(),
) -> None:
    """List the runs under a folder (this one unless told otherwise)."""
    if context.invoked_subcommand is not None:
        return
    table = Table()
    table.add_column("run", no_wrap=True, overflow="ignore")
    for name in ("recipe", "members", "phase", "round", "held out, bits/byte"):
        table.add_column(name)
    found = 0
    for run in _find(folder):
        from llmos.federation.report import load_state

        found += 1
        try:
            if is_alone(run):
                table.add_row(str(run), *_alone_row(run))
                continue
            state, entries = load_state(run)
        except LLMOSError:  # one damaged run must not hide the others
            table.add_row(str(run), "", "", "damaged or not begun: see runs show", "", "")
            continue
        table.add_row(
            str(run),
            str(entries[0].body["recipe"]["name"]),
            ", ".join(state.expected),
            state.phase,
            f"{state.round}/{state.rounds}",
            f"{state.means[state.best_round()]:.3f}" if state.means else "",
        )
    if not found:
        typer.echo(f"no runs under {folder}: llmos train RECIPE --out runs/NAME makes one")
        return
    Console(width=None).print(table)


def _find(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: give one with --in")
    for pattern in ("run.json", "*/run.json", "*/*/run.json"):
        for path in sorted(folder.glob(pattern)):
            if (path.parent / "ledger.jsonl").exists():
                yield path.parent


@app.command()
def show(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.svg", help="Save the curves as SVG.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Show RUN: curves of held-out bits per byte, the comparison, traffic and times."""
    if is_alone(run):
        show_alone(run, plot, as_json)
        return
    from llmos.federation.report import curves, load_state, times

    state, entries = load_state(run)
    series = [Series(name, points) for name, points in curves(run, entries).items()]
    if plot is not None:
        title = f"{entries[0].body['recipe']['name']}: held-out text by optimiser steps per member"
        _save_chart(plot, series, title, "local optimiser steps")
        return
    if as_json:
        record = {
            "phase": state.phase,
            "round": state.round,
            "rounds": state.rounds,
            "selected": state.selected,
            "validation": state.means,
            "comparison": state.comparison,
            "times": times(run),
        }
        typer.echo(json.dumps(record, indent=1))
        return
    console = Console()
    console.print(
        f"{run}: recipe {entries[0].body['recipe']['name']} "
        f"(sha256 {state.recipe_sha256[:16]}), members {', '.join(state.expected)}, "
        f"phase {state.phase}, round {state.round} of {state.rounds}",
        highlight=False,
        soft_wrap=True,
    )
    _print_chart(console, series, "local optimiser steps", "bits per byte, held out")
    print_outcome(run, console)


def _save_chart(plot: Path, series: list[Series], title: str, x_label: str) -> None:
    svg = svg_chart(series, title, x_label, "bits per byte")
    write_atomic(plot, svg.encode())
    typer.echo(f"wrote {plot}")


def _print_chart(console: Console, series: list[Series], x_label: str, y_label: str) -> None:
    if series:
        chart = terminal_chart(
            series[:MOST_CURVES],
            width=min(console.width, 100),
            height=18,
            x_label=x_label,
            y_label=y_label,
        )
        console.print(chart)


def _alone_row(run: Path) -> list[str]:
    report = report_alone(run)
    best = f"{report.best[1]:.3f}" if report.best else ""
    step = f"step {report.step}/{report.total}"
    return [report.recipe.name, "alone", report.phase, step, best]


def show_alone(run: Path, plot: Path | None, as_json: bool) -> None:
    """`runs show` of one organisation's run."""
    report = report_alone(run)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=1))
        return
    curves = {"training": report.training, "held out": report.validation}
    series = [Series(name, points) for name, points in curves.items() if points]
    if plot is not None:
        _save_chart(plot, series, f"{report.recipe.name}: training alone", "optimiser steps")
        return
    console = Console()
    console.print(
        f"{run}: recipe {report.recipe.name} (sha256 {report.recipe.sha256()[:16]}), alone, "
        f"phase {report.phase}, step {report.step} of {report.total}",
        highlight=False,
        soft_wrap=True,
    )
    _print_chart(console, series, "optimiser steps", "bits per byte")
    if report.latest:
        console.print(f"last steps: {figures(report.latest)}", highlight=False, soft_wrap=True)
    print_alone_outcome(run, console)


def print_alone_outcome(run: Path, console: Console | None = None) -> None:
    """The test score and the model's folder, or how to go on."""
    from llmos.metrics.perplexity import bits_per_byte, perplexity

    console = console or Console()
    entries = report_alone(run).entries
    if (trained := entries.get("trained")) is not None:
        test = trained["test"]
        console.print(
            f"held-out test text: {bits_per_byte(test['nll_nats'], test['bytes']):.4f} bits/byte, "
            f"perplexity {perplexity(test['nll_nats'], test['tokens']):.2f} per token "
            f"(weights after step {trained['selected_step']} of {trained['steps']})",
            highlight=False,
            soft_wrap=True,
        )
    _print_next(console, run, "published" in entries)


def print_outcome(run: Path, console: Console | None = None) -> None:
    """The comparison, the traffic, where the time went, and the model's folder."""
    from llmos.federation.report import comparison_rows, difference_note, load_state, times
    from llmos.metrics.perplexity import bits_per_byte

    console = console or Console()
    state, _ = load_state(run)
    if state.comparison is not None:
        for figure, title in (
            ("bits_per_byte", "held-out test text: bits per byte (lower is better)"),
            ("perplexity", "perplexity per token of the shared tokenizer"),
        ):
            header, rows = comparison_rows(state.comparison, figure)
            _print_table(console, title, header, rows)
        console.print(difference_note(state.comparison), highlight=False, soft_wrap=True)
        _print_traffic(console, state.comparison)
    elif state.test:
        rows = [
            [member, f"{bits_per_byte(s['nll_nats'], s['bytes']):.3f}"]
            for member, s in sorted(state.test.items())
        ]
        _print_table(console, "held-out test text", ["member", "bits per byte"], rows)
    spent = times(run)
    if spent["joint_share"] is not None:
        parts = ", ".join(f"{part} {value:.1f} s" for part, value in spent["seconds"].items())
        console.print(f"time: {parts}", highlight=False, soft_wrap=True)
        console.print(
            f"exchange + compression + merge + ledger: {spent['joint_share']:.1%} of the run "
            "without preparation, evaluation, comparison and publication",
            highlight=False,
            soft_wrap=True,
        )
    _print_next(console, run, state.phase == "closed")


def _print_next(console: Console, run: Path, is_finished: bool) -> None:
    if is_finished:
        text = f"model: {run / 'model'}\ncheck the evidence: llmos verify {run}"
        if _writes_text(run / "model"):
            text += f'\ntry it: llmos generate {run / "model"} "..."'
    else:
        text = f"unfinished: llmos train --resume {run}"
    console.print(text, highlight=False, soft_wrap=True)


def _writes_text(model: Path) -> bool:
    """Whether `llmos generate` can use the model."""
    try:
        architectures = json.loads((model / "config.json").read_bytes())["architectures"]
    except (OSError, ValueError, KeyError):
        return False
    return any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in architectures)


def _print_table(console: Console, title: str, header: list[str], rows: list[list[str]]) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column(header[0])
    for name in header[1:]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _print_traffic(console: Console, comparison: JSON) -> None:
    traffic = comparison["traffic"]
    if not traffic["bytes_sent"]:
        return
    each = ", ".join(
        f"{member} {sent / 1e6:.1f} MB ({traffic['bytes_per_parameter'][member]:.1f} bytes "
        "a parameter)"
        for member, sent in sorted(traffic["bytes_sent"].items())
    )
    console.print(
        f"sent in updates: {each}; data-parallel training would send "
        f"{traffic['data_parallel_bytes_per_parameter']:.0f} bytes a parameter, "
        f"{traffic['data_parallel_ratio']:.0f} times as much",
        highlight=False,
        soft_wrap=True,
    )
