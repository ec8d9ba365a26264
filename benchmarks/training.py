"""Speed and memory of training on a processor, beside other ways to train the same model.

    python benchmarks/training.py [--data DIR] [--pairs 7] [--quick] [--quiet] [--memory]
        [--out FILE]

A GPT-2-like model of 14 M weights on documents of the Hugging Face course (DIR holds its
`jsonl/*.jsonl.gz`): real tokens a second, padding not counted. Each side is a process of its own
with the same tokens, batch (16 x 256) and threads; they take turns, a few steps each, so that
whatever else the machine does meets them all. Figures are medians over the turns; an interval is
the middle 95 % of medians of resampled turns. `--memory` measures instead what a step takes with a
large vocabulary. Documents are the course's sections (what a heading begins), which for the padded
side are cut at the sequence length, so that no text is left out. Beside the clock's time stands
that of the processors, which tells more where other programs run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from llmos.data.packing import pack
from llmos.data.sources import read_source
from llmos.models.pieces import count_pieces
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.recipe import DataSection, Recipe

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "shared" / "data" / "pretrain-hf-course"
SHAPE = {"layers": 6, "heads": 6, "width": 384, "vocabulary": 8192, "length": 256, "batch": 16}
NAMES = {
    "llmos": "llmos, GPT-2 style",
    "llmos_llama": "llmos, Llama style",
    "plain": "plain PyTorch, bf16, packed",
    "plain_kept": "the same, memory kept",
    "trainer_packed": "Trainer, bf16, packed",
    "trainer": "Trainer, its defaults",
}
BARS = {"plain": 1.05, "trainer_packed": 1.0, "trainer": 2.5}
"""How many times as fast as each of these llmos must be."""


class Estimate(NamedTuple):
    """A median and its interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def estimate(values: list[float], samples: int = 10_000) -> Estimate:
    """The median with its 95 % percentile bootstrap interval."""
    drawn = np.random.default_rng(0).choice(values, (samples, len(values)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return Estimate(float(np.median(values)), float(low), float(high))


def prepare(data: Path, folder: Path, megabytes: float, threads: int) -> float:
    """Write tokens, tokenizer and shape for the sides; the share of padding in padded batches."""
    source = read_source(data / "jsonl", DataSection(), "text")
    sections = [
        part
        for document in source.documents
        for part in re.split(r"(?m)^(?=#+ )", document.text)
        if part.strip()
    ]
    random = np.random.default_rng(0)
    random.shuffle(sections)
    sizes = np.cumsum([len(section.encode()) for section in sections])
    sections = sections[: int(np.searchsorted(sizes, megabytes * 1e6)) + 1]
    recipe = Recipe(name="speed").with_values({"tokenizer.vocabulary_size": SHAPE["vocabulary"]})
    words = Vocabulary.of(train_tokenizer(count_pieces(sections), recipe))
    encoded = words.encode_all(sections)
    length = SHAPE["length"]
    rows = [
        np.array(tokens[start : start + length], np.uint16)
        for tokens in encoded
        for start in range(0, len(tokens), length)
    ]
    np.savez(
        folder / "tokens.npz",
        packed=pack(encoded, words.end, words.size),
        rows=np.concatenate(rows),
        sizes=[len(row) for row in rows],
    )
    words.tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "shape.json").write_text(json.dumps({**SHAPE, "threads": threads}))
    drawn = random.permutation([len(row) for row in rows])
    full = drawn[: len(drawn) // SHAPE["batch"] * SHAPE["batch"]].reshape(-1, SHAPE["batch"])
    return 1 - float(full.sum() / (full.max(axis=1).sum() * SHAPE["batch"]))


def machine_busy() -> float:
    """Seconds that this machine's processors have worked since it started; 0 but on Linux."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    fields = [int(field) for field in stat.read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


class Side:
    """A process that trains when told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.facts = self._answer()

    def run(self, steps: int, tries: int) -> dict[str, Any]:
        """Its answer to so many steps, and how many processors others kept busy meanwhile.

        Of several tries, the first that others left alone, or the one they disturbed least.
        """
        assert self.process.stdin is not None
        best: dict[str, Any] = {"others": np.inf}
        for _ in range(tries):
            before = machine_busy()
            self.process.stdin.write(f"{steps}\n")
            self.process.stdin.flush()
            found = self._answer()
            others = (machine_busy() - before - found["busy"]) / found["seconds"]
            if others < best["others"]:
                best = {**found, "others": max(0.0, others)}
            if others < 0.1:
                break
        return best

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        raise SystemExit(f"{' '.join(map(str, self.process.args))} ended early")


@contextmanager
def side(name: str, folder: Path) -> Iterator[Side]:
    """A side, started and ready."""
    command = [sys.executable, str(HERE / "training_sides.py"), name, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Side(process)
        assert process.stdin is not None
        process.stdin.close()


def measure(folder: Path, pairs: int, steps: int, tries: int) -> dict[str, Any]:
    """All sides in turn, `pairs` times: tokens a second, of the clock and of a processor; rates."""
    speeds: dict[str, list[float]] = {name: [] for name in NAMES}
    busy: dict[str, list[float]] = {name: [] for name in NAMES}
    rates: dict[str, list[float]] = {"bf16": [], "fp32": []}
    others: list[float] = []
    with ExitStack() as stack:
        sides = {name: stack.enter_context(side(name, folder)) for name in (*NAMES, "matmul")}
        for turn in range(pairs):
            first = turn % len(NAMES)
            found = sides["matmul"].run(1, tries)
            for kind, values in rates.items():
                values.append(found[kind])
            for name in (*NAMES, *NAMES)[first : first + len(NAMES)]:
                found = sides[name].run(steps, tries)
                speeds[name].append(found["tokens"] / found["seconds"])
                busy[name].append(found["tokens"] / found["busy"])
                others.append(found["others"])
            print(f"turn {turn + 1} of {pairs}", file=sys.stderr, flush=True)
        facts = {name: sides[name].facts for name in ("llmos", "llmos_llama")}
    return {"speeds": speeds, "busy": busy, "rates": rates, "others": others, "facts": facts}


def summary(found: dict[str, Any], padding: float) -> tuple[list[str], dict[str, Any]]:
    """Lines of the table, and its figures."""
    speeds, facts = found["speeds"], found["facts"]
    ours = speeds["llmos"]
    lines = [
        "| side | real tokens/s | llmos is faster, times | bar | by processor time |",
        "|---|---|---|---|---|",
    ]
    figures: dict[str, Any] = {}
    for name, label in NAMES.items():
        ratios = []
        for kind in ("speeds", "busy"):
            pairs = zip(found[kind]["llmos"], found[kind][name], strict=True)
            ratios.append(estimate([a / b for a, b in pairs]))
        shown, by_processor = map(str, ratios) if name != "llmos" else ("", "")
        bar = BARS.get(name, "")
        speed = f"{np.median(speeds[name]):.0f}"
        lines.append(f"| {label} | {speed} | {shown} | {bar} | {by_processor} |")
        figures[name] = {
            "tokens_per_second": speeds[name],
            "tokens_per_processor_second": found["busy"][name],
            "ratio": ratios[0],
            "ratio_by_processor_time": ratios[1],
        }
    flops = {name: facts[name]["flops_per_token"] for name in facts}
    used = [
        speed * flops["llmos"] / rate
        for speed, rate in zip(ours, found["rates"]["bf16"], strict=True)
    ]
    equal = [
        other * flops["llmos_llama"] / (speed * flops["llmos"])
        for speed, other in zip(ours, speeds["llmos_llama"], strict=True)
    ]
    figures["utilisation"] = estimate(used)
    figures["llama_to_gpt2_at_equal_flops"] = estimate(equal)
    rates = {kind: np.median(values) / 1e9 for kind, values in found["rates"].items()}
    lines += [
        "",
        f"Utilisation (of bf16 products of 2048, {rates['bf16']:.0f} GFLOP/s; "
        f"fp32 {rates['fp32']:.0f}): {figures['utilisation']} (bar 0.85)",
        f"Llama style, FLOP/s by those of GPT-2 style: {figures['llama_to_gpt2_at_equal_flops']} "
        "(bar 0.9)",
        f"Padding in the padded batches: {padding:.0%}. "
        f"Weights: {facts['llmos']['parameters'] / 1e6:.1f} M. "
        f"Others kept {np.median(found['others']):.2f} processors busy meanwhile (median).",
    ]
    figures |= {"rates": found["rates"], "others": found["others"]}
    return lines, figures


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder with jsonl/*.jsonl.gz")
    parser.add_argument("--pairs", type=int, default=7, help="turns of each side")
    parser.add_argument("--steps", type=int, default=4, help="steps a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="three turns of two steps, less text")
    parser.add_argument(
        "--quiet", action="store_true", help="repeat what other programs disturbed, up to 10 times"
    )
    parser.add_argument("--memory", action="store_true", help="measure memory instead")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.pairs, arguments.steps = 3, 2
    return arguments


def main() -> None:
    arguments = parse()
    if arguments.memory:
        from training_memory import measure_memory

        lines, figures = measure_memory(arguments.quick)
    elif not (arguments.data / "jsonl").is_dir():
        print(f"skipped: no {arguments.data / 'jsonl'}; name the course's folder with --data")
        return
    else:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            megabytes = 1.0 if arguments.quick else 5.0
            padding = prepare(arguments.data, folder, megabytes, arguments.threads)
            tries = 10 if arguments.quiet else 1
            found = measure(folder, arguments.pairs, arguments.steps, tries)
            lines, figures = summary(found, padding)
    print("\n".join(lines))
    if arguments.out:
        about = {"machine": platform.processor() or platform.machine(), "python": sys.version}
        arguments.out.write_text(json.dumps({**about, **figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
