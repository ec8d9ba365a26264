"""Try a recipe at many settings and see where joining pays.

    python benchmarks/sweep.py recipes/demo.toml --member en=DIR --member zh=DIR ... \\
        --set training.learning_rate=1e-3,2e-3 --set rounds.local_steps=10,20 --jobs 2 --out FILE

Every combination of the values is one run with comparison, in a process of its own; FILE gets one
JSON line a run, and the table is printed as runs finish. `--random N` tries N of them at random.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

RUN_ONE = """
import json, sys
from pathlib import Path
from llmos.federation.local import train
from llmos.recipe import load_recipe, parse_assignment
recipe, out, members, settings = json.loads(sys.argv[1])
chosen = load_recipe(Path(recipe)).with_values(dict(parse_assignment(s) for s in settings))
train(chosen, out=out, members=members, compare=True)
"""


def mean(column: dict[str, dict[str, float]], figure: str = "bits_per_byte") -> float:
    """The mean of a figure over the members of a column."""
    return math.fsum(of[figure] for of in column.values()) / len(column)


def run_one(recipe: str, members: dict[str, str], settings: list[str]) -> dict[str, object]:
    """One run; its means by column, or its error."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        done = subprocess.run(
            [sys.executable, "-c", RUN_ONE, json.dumps([recipe, str(out), members, settings])],
            capture_output=True,
            text=True,
        )
        record: dict[str, object] = {"settings": settings}
        if done.returncode:
            record["error"] = done.stderr.strip().splitlines()[-1:]
            return record
        comparison = json.loads((out / "comparison.json").read_text())
        record["columns"] = comparison["columns"]
        record["differences"] = comparison["differences"]
        record["means"] = {name: round(mean(of), 4) for name, of in comparison["columns"].items()}
        return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--member", action="append", required=True, metavar="NAME=PATH")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=V1,V2,...")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    members = dict(text.split("=", 1) for text in arguments.member)
    choices = []
    for text in arguments.set:
        key, values = text.split("=", 1)
        choices.append([f"{key}={value}" for value in values.split(",")])
    grid = [list(combination) for combination in itertools.product(*choices)]
    if arguments.random:
        grid = random.Random(0).sample(grid, min(arguments.random, len(grid)))
    with ThreadPoolExecutor(arguments.jobs) as pool, arguments.out.open("a") as file:
        for record in pool.map(lambda s: run_one(arguments.recipe, members, s), grid):
            file.write(json.dumps(record) + "\n")
            file.flush()
            verdicts = [d["verdict"] for d in record.get("differences", {}).values()]
            print(
                record["settings"], record.get("means", record.get("error")), verdicts, flush=True
            )


if __name__ == "__main__":
    main()
