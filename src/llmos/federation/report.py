"""What a run says about itself: the table, traffic, times; from the ledger and logs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from llmos.errors import UsageError
from llmos.federation.timing import JOINT_PARTS
from llmos.provenance.ledger import Entry, Ledger
from llmos.provenance.run_state import RunState
from llmos.recipe import Recipe
from llmos.records import JSON, read_jsonl

COLUMN_NAMES = {
    "alone": "alone",
    "alone_whole_budget": "alone, whole budget",
    "together": "together",
    "together_own": "together + own",
    "pooled": "pooled",
}


def comparison_rows(
    comparison: JSON, figure: str = "bits_per_byte"
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table: a row a member and the mean; `figure` or `perplexity`."""
    found: dict[str, dict[str, JSON]] = comparison["columns"]
    columns = {name: found[name] for name in COLUMN_NAMES if name in found}
    digits = 3 if figure == "bits_per_byte" else 2
    header = ["member", *(COLUMN_NAMES[c] for c in columns)]
    # Differences are in bits per byte, so they stand in that table only.
    with_differences = figure == "bits_per_byte"
    if with_differences:
        header += ["difference, 95 %", "verdict"]
    rows = []
    members = sorted(next(iter(columns.values())))
    for member in members:
        row = [member, *(f"{_value(of[member][figure]):.{digits}f}" for of in columns.values())]
        difference = comparison["differences"].get(member)
        rows.append([*row, *(_difference_cells(difference) if with_differences else [])])
    means = [
        math.fsum(_value(of[m][figure]) for m in members) / len(members) for of in columns.values()
    ]
    rows.append(["mean", *(f"{mean:.{digits}f}" for mean in means)])
    rows[-1] += [""] * (len(header) - len(rows[-1]))
    return header, rows


def _value(figure: float | None) -> float:
    return math.inf if figure is None else figure


def _difference_cells(difference: JSON | None) -> list[str]:
    if difference is None:
        return ["", ""]
    interval = "no interval: one unit"
    if difference["low"] is not None:
        interval = f"{difference['low']:+.3f} to {difference['high']:+.3f}"
    return [f"{difference['bits_per_byte']:+.3f} ({interval})", difference["verdict"]]


def difference_note(comparison: JSON) -> str:
    """Which columns the differences are between, in a sentence; empty where there are none."""
    pairs: dict[str, list[str]] = {}
    for member, found in sorted(comparison["differences"].items()):
        pair = f"{COLUMN_NAMES[found['together']]} against {COLUMN_NAMES[found['alone']]}"
        pairs.setdefault(pair, []).append(member)
    if not pairs:
        return ""
    said = "; ".join(f"{pair} for {', '.join(members)}" for pair, members in pairs.items())
    return (
        f"difference: the best together against the best alone, chosen on validation text ({said})"
    )


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    lines = [
        "| " + " | ".join(header) + " |",
        "|" + "|".join(["---", *["---:"] * (len(header) - 1)]) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    return "\n".join(lines)


def comparison_markdown(comparison: JSON) -> str:
    """The comparison in bits per byte as Markdown, with its note."""
    note = difference_note(comparison)
    return markdown_table(*comparison_rows(comparison)) + (f"\n\n{note}" if note else "")


def traffic(recipe: Recipe, entries: Iterable[Entry]) -> JSON:
    """Bytes that each member sent in updates, against data-parallel training of the same steps.

    Data-parallel members would exchange a bf16 gradient (2 bytes a parameter) at every step.
    """
    parameters = 0
    sent: dict[str, int] = {}
    for entry in entries:
        if entry.kind == "model_initialised":
            parameters = int(entry.body["parameters"])
        elif entry.kind == "update_accepted":
            update = entry.body["update"]
            sent[update["member"]] = sent.get(update["member"], 0) + int(update["bytes"])
    parallel = 2.0 * recipe.rounds.count * recipe.rounds.local_steps
    return {
        "parameters": parameters,
        "bytes_sent": dict(sorted(sent.items())),  # not in the order of their arrival
        "bytes_per_parameter": {m: b / parameters for m, b in sorted(sent.items())},
        "data_parallel_bytes_per_parameter": parallel,
        "data_parallel_ratio": (
            parallel * parameters * len(sent) / sum(sent.values()) if sent else None
        ),
    }


def times(folder: Path) -> JSON:
    """Seconds of the run by part, over coordinator and members, and the joint parts' share.

    The share is (exchange + compression + merge + ledger) / (these + training + checkpoint):
    preparation, evaluation, comparison and publication are reported, not counted.
    """
    seconds: dict[str, float] = {}
    for log in [folder / "log.jsonl", *sorted((folder / "members").glob("*/log.jsonl"))]:
        for record in read_jsonl(log):
            for part, value in record.get("seconds", {}).items():
                seconds[part] = seconds.get(part, 0.0) + float(value)
    joint = math.fsum(seconds.get(part, 0.0) for part in JOINT_PARTS)
    local = seconds.get("training", 0.0) + seconds.get("checkpoint", 0.0)
    return {
        "seconds": dict(sorted(seconds.items())),
        "joint_share": joint / (joint + local) if joint + local else None,
    }


def load_state(folder: Path) -> tuple[RunState, list[Entry]]:
    """The state and entries of the run in `folder`. Raises `UsageError` where there is none."""
    path = folder / "ledger.jsonl"
    if not path.exists():
        raise UsageError(f"{folder} holds no run: llmos train RECIPE --out {folder} makes one")
    entries = Ledger.open(path).entries
    if not entries:
        raise UsageError(f"{path} is empty: the run has not begun; llmos train --resume {folder}")
    state = RunState()
    for entry in entries:
        state.apply(entry)
    return state, entries


def curves(folder: Path, entries: Iterable[Entry]) -> dict[str, list[tuple[float, float]]]:
    """Mean bits per byte on validation text by local optimiser steps, one curve a column.

    Of the joint run from the ledger; of training alone and pooled from the comparison, where there
    is one (pooled takes as many steps for each of the joint run as there are members).
    """
    found: dict[str, list[tuple[float, float]]] = {"together": []}
    steps = 0
    for entry in entries:
        if entry.kind == "run_opened":
            steps = int(entry.body["recipe"]["rounds"]["local_steps"])
        elif entry.kind == "evaluated" and entry.body["mean_bits_per_byte"] is not None:
            found["together"].append(
                (entry.body["round"] * steps, entry.body["mean_bits_per_byte"])
            )
    for column in ("alone", "pooled"):
        records = [
            json.loads(path.read_bytes())["curve"]
            for path in sorted((folder / "compare").glob(f"{column}-*.json"))
        ]
        if records:
            # The pooled curve is one and the same at every member.
            chosen = records if column == "alone" else records[:1]
            scale = 1 if column == "alone" else len(records)
            found[COLUMN_NAMES[column]] = [
                (chosen[0][i][0] / scale, math.fsum(c[i][1] for c in chosen) / len(chosen))
                # The curve of a training that diverged ends before the others.
                for i in range(min(len(curve) for curve in chosen))
            ]
    return {name: points for name, points in found.items() if points}
