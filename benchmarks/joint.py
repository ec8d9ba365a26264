"""Run one recipe with comparison for several seeds and print one table over them.

    python benchmarks/joint.py recipes/novels.toml --member en=eng.jsonl.gz --member fr=... \\
        --seeds 3 --jobs 1 --out runs/novels

Each seed is a run of its own in OUT/seed-N (another split, other weights, other batches); one that
is there already is resumed or read. The table: bits per byte by column, mean and standard deviation
over seeds; the difference of the best together and the best alone; how often a member gained.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from llmos.federation.report import COLUMN_NAMES, markdown_table, times


def run_seed(recipe: Path, members: list[str], seed: int, out: Path) -> None:
    """One seed, from where it stands."""
    command = [sys.executable, "-m", "llmos.cli.main", "train"]
    if (out / "run.json").exists():
        command += ["--resume", str(out)]
    else:
        command += [str(recipe), "--out", str(out), "--compare", "--seed", str(seed)]
        for member in members:
            command += ["--member", member]
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.with_suffix(".log").open("a") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)


def spread(values: list[float], digits: int = 3) -> str:
    """Mean and standard deviation over seeds."""
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def table(comparisons: list[dict]) -> str:
    """The Markdown table over seeds."""
    columns = [name for name in COLUMN_NAMES if name in comparisons[0]["columns"]]
    members = sorted(comparisons[0]["columns"][columns[0]])
    rows = []
    for member in members:
        cells = [
            spread([c["columns"][column][member]["bits_per_byte"] for c in comparisons])
            for column in columns
        ]
        found = [c["differences"][member] for c in comparisons]
        verdicts = Counter(d["verdict"] for d in found)
        rows.append(
            [
                member,
                *cells,
                spread([d["bits_per_byte"] for d in found]),
                ", ".join(f"{verdict} {count}/{len(found)}" for verdict, count in verdicts.items()),
            ]
        )
    means = [
        spread(
            [
                statistics.fmean(of["bits_per_byte"] for of in c["columns"][column].values())
                for c in comparisons
            ]
        )
        for column in columns
    ]
    rows.append(["mean", *means, "", ""])
    header = ["member", *(COLUMN_NAMES[c] for c in columns), "best together - best alone", "seeds"]
    return markdown_table(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--member", action="append", required=True, metavar="NAME=PATH")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    runs = [arguments.out / f"seed-{seed}" for seed in range(1, arguments.seeds + 1)]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        jobs = [
            pool.submit(run_seed, arguments.recipe, arguments.member, seed, run)
            for seed, run in enumerate(runs, start=1)
        ]
        for job in jobs:
            job.result()
    print(table([json.loads((run / "comparison.json").read_bytes()) for run in runs]))
    for run in runs:
        spent = times(run)
        seconds = sum(spent["seconds"].values())
        print(f"{run}: {seconds / 60:.1f} minutes, joint parts {spent['joint_share']:.1%}")


if __name__ == "__main__":
    main()
