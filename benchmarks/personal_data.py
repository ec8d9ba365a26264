"""Personal data: what share is found, what is found where there is none, and how fast.

    python benchmarks/personal_data.py [--data DIR] [--show] [--out FILE]

DIR holds public data sets by name. Precision, recall and F1 by kind are on `pii-presidio-a`, 1,500
synthetic English sentences with marked spans (Microsoft Presidio's research set): a span counts as
found where one of the same kind overlaps it; "exact" is the share of them with the same bounds.
Finds by megabyte are on texts that are published and clean: each is a false one, or a public
address; `--show` lists them, to judge. Speed is per core, beside that of datatrove's PIIFormatter
(e-mail and IP addresses alone) in the same run, the two in turn; processor and wall-clock time.
Tables of random numbers are the worst case for patterns that begin with digits.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from llmos.data.steps.personal_data.find import Found, find

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
# Presidio's names of the kinds; names, places, dates and the like are not looked for.
KINDS = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "IBAN_CODE": "iban",
    "CREDIT_CARD": "credit_card",
    "US_SSN": "national_id",
    "IP_ADDRESS": "ip_address",
}
PIECE = 4000
"""Characters of a document, as novels are rare among texts from the web."""


def accuracy(path: Path, show: bool) -> dict[str, dict[str, float]]:
    """By kind: spans, precision, recall, F1, share of exact bounds."""
    tally: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS.values()}
    for record in json.loads(gzip.decompress(path.read_bytes())):
        text = record["full_text"]
        marked = [
            Found(span["start_position"], span["end_position"], KINDS[span["entity_type"]])
            for span in record["spans"]
            if span["entity_type"] in KINDS
        ]
        found = find(text, tally)
        for kind, count in tally.items():
            ours = [one for one in found if one.kind == kind]
            theirs = [one for one in marked if one.kind == kind]
            hits = [one for one in theirs if any(overlap(one, other) for other in ours)]
            right = [one for one in ours if any(overlap(one, other) for other in theirs)]
            count.update(
                marked=len(theirs),
                hits=len(hits),
                found=len(ours),
                right=len(right),
                exact=len(set(ours) & set(theirs)),
            )
            if show:
                for label, ones in (
                    ("missed", set(theirs) - set(hits)),
                    ("false", set(ours) - set(right)),
                ):
                    for one in sorted(ones):
                        print(f"  {label} {kind}: {text[one.start : one.end]!r}")
    return {kind: scores(count) for kind, count in tally.items()}


def overlap(one: Found, other: Found) -> bool:
    return one.start < other.end and other.start < one.end


def scores(count: Counter[str]) -> dict[str, float]:
    precision = count["right"] / max(1, count["found"])
    recall = count["hits"] / max(1, count["marked"])
    return {
        "spans": count["marked"],
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / max(1e-9, precision + recall),
        "exact": count["exact"] / max(1, count["hits"]),
    }


def pieces(texts: Iterator[str]) -> list[str]:
    return [text[at : at + PIECE] for text in texts for at in range(0, len(text), PIECE)]


def lines(folder: Path, pattern: str) -> Iterator[str]:
    for path in sorted(folder.glob(pattern)):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)["text"]


def numbers(separator: str) -> Iterator[str]:
    """A table of 1 MB or so: whole numbers and decimal ones."""
    generator = random.Random(0)
    for _ in range(25):
        cells = (
            generator.choice([str(generator.randrange(10**n)), f"{generator.random():.{n}f}"])
            for n in generator.choices(range(1, 7), k=8000)
        )
        yield "\n".join(separator.join(row) for row in zip(*[cells] * 10, strict=False))


def corpora(data: Path) -> dict[str, list[str]]:
    wikitext = gzip.decompress((data / "pretrain-wikitext2-valid/valid.txt.gz").read_bytes())
    return {
        "hf-course, 20 languages": pieces(lines(data / "pretrain-hf-course/jsonl", "*.gz")),
        "novels, de en es fr": pieces(lines(data / "pretrain-eltec-a/jsonl", "*.gz")),
        "wikitext, en": pieces(iter([wikitext.decode()])),
        "numbers, with commas": pieces(numbers(", ")),
        "numbers, with spaces": pieces(numbers(" ")),
    }


def timed(work: Callable[[str], Any], texts: list[str]) -> tuple[float, float]:
    """Seconds of the processor and of the clock."""
    processor, clock = time.process_time(), time.perf_counter()
    for text in texts:
        work(text)
    return time.process_time() - processor, time.perf_counter() - clock


def theirs() -> Callable[[str], Any] | None:
    try:
        from datatrove.pipeline.formatters.pii import PIIFormatter
    except ImportError:
        return None
    formatter: Any = PIIFormatter()
    return lambda text: formatter.format(text)


def measure(name: str, texts: list[str], show: bool) -> dict[str, Any]:
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    counts: Counter[str] = Counter()
    for text in texts:
        for one in find(text):
            counts[one.kind] += 1
            if show:
                print(f"  {name}: {one.kind} {text[one.start : one.end]!r}")
    result: dict[str, Any] = {
        "megabytes": megabytes,
        "found": dict(counts),
        "found_per_megabyte": counts.total() / megabytes,
    }
    sides = {"llmos": find, "datatrove": theirs()}
    times: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    for _ in range(3):
        for side, work in sides.items():
            if work:
                times[side].append(timed(work, texts))
    for side, taken in times.items():
        if taken:
            processor, clock = (sorted(column)[1] for column in zip(*taken, strict=True))
            result[side] = {"cpu_mb_s": megabytes / processor, "clock_mb_s": megabytes / clock}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--show", action="store_true", help="list what is missed or false")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    found = accuracy(arguments.data / "pii-presidio-a/synth_dataset_v2.json.gz", arguments.show)
    print(f"{'kind':12} {'spans':>6} {'precision':>9} {'recall':>7} {'F1':>6} {'exact':>6}")
    for kind, row in found.items():
        values = (row[key] for key in ("precision", "recall", "f1", "exact"))
        print(f"{kind:12} {row['spans']:6} " + " ".join(f"{value:7.3f}" for value in values))
    speed = {
        name: measure(name, texts, arguments.show)
        for name, texts in corpora(arguments.data).items()
    }
    for name, result in speed.items():
        print(f"{name}: {result['megabytes']:.1f} MB, {result['found_per_megabyte']:.2f} found/MB")
        print(f"  found: {result['found']}")
        for side in ("llmos", "datatrove"):
            if side in result:
                processor, clock = result[side]["cpu_mb_s"], result[side]["clock_mb_s"]
                print(f"  {side}: {processor:.1f} MB/s of the processor, {clock:.1f} of the clock")
    if arguments.out:
        arguments.out.write_text(json.dumps({"accuracy": found, "texts": speed}, indent=1) + "\n")


if __name__ == "__main__":
    main()
