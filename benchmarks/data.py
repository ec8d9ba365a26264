"""Speed and memory of the preparation of text, beside datatrove's own blocks.

    python benchmarks/data.py [--data DIR] [--megabytes 100] [--peer-megabytes 3] [--turns 3]
        [--part steps,files,memory]

The text: novels in English and French and a textbook in Chinese, cut into parts of about 3 kB and
repeated up to so many megabytes, every repeat with a number of its own at its beginning. Both sides
run in datatrove's local executor with one worker, each in a process of its own; time to start is
measured by a run on one document and taken off. Figures are processor seconds: the machine may do
other work.

* steps: normalise, language, all four sets of quality rules, personal data; against datatrove's
  filters of the same four sets (Gopher quality and repetition, C4, FineWeb), which have no
  normalisation, no language identification and no personal data in them. Their word tokeniser is
  spaCy's where it is installed. The peer gets fewer megabytes, because it is slow.
* files: JSON lines read and written again, plain and gzip; against datatrove's reader and writer.
* memory: peak memory of `llmos data prepare`, all stages, on a tenth of the text and on all of it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "shared" / "data"
PART_BYTES = 3000


def texts(data: Path, megabytes: float) -> Iterator[str]:
    """Documents of the corpus, up to so many megabytes of UTF-8."""
    from llmos.data.documents import cut
    from llmos.data.sources import read_source
    from llmos.recipe import DataSection

    folders = [
        data / "pretrain-eltec-a" / "jsonl" / "eng.jsonl.gz",
        data / "pretrain-eltec-a" / "jsonl" / "fra.jsonl.gz",
        data / "pretrain-d2l-zh" / "jsonl" / "zh.jsonl.gz",
    ]
    parts = [
        [
            part.text
            for document in read_source(folder, DataSection(), "text").documents
            for part in cut(document, PART_BYTES)
        ]
        for folder in folders
    ]
    left = megabytes * 1e6
    turn = 0
    while left > 0:
        turn += 1
        for position in range(max(map(len, parts))):
            for language in parts:
                text = f"{turn}. {language[position % len(language)]}"
                left -= len(text.encode())
                if left <= 0:
                    return
                yield text


def write_corpus(data: Path, megabytes: float, path: Path) -> int:
    """The corpus as JSON lines; its bytes of text."""
    size = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for number, text in enumerate(texts(data, megabytes)):
            file.write(json.dumps({"id": str(number), "text": text}, ensure_ascii=False) + "\n")
            size += len(text.encode())
    return size


# The sides. Each is called in a process of its own: side(input folder, output folder).


def our_steps(source: Path, out: Path) -> None:
    from llmos.data.preparation.executors import Stage, Where

    Where().run([Stage("steps", _our_steps_task, out, 1)], lambda *_: None)


def _our_steps_task(out: Path, number: int) -> None:
    from collections import Counter

    from llmos.data.preparation.chain import Chain
    from llmos.data.preparation.settings import Settings
    from llmos.data.steps.step import Drop

    settings = Settings(sources=(os.environ["LLMOS_BENCH_SOURCE"],))
    chain, counts, kept = Chain(settings), Counter[str](), 0
    for document in _read(settings):
        kept += not isinstance(chain(document, counts), Drop)
    print(json.dumps({"kept": kept}))


def _read(settings: Any) -> Iterator[Any]:
    from llmos.data.documents import Document
    from llmos.data.reading.chunks import plan, read_part

    for chunk in plan(settings.sources).chunks:
        for part in chunk.parts:
            for document in read_part(part, settings.data, settings.record):
                assert isinstance(document, Document), document
                yield document


def their_steps(source: Path, out: Path) -> None:
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )
    from datatrove.pipeline.readers import JsonlReader

    LocalPipelineExecutor(
        [
            JsonlReader(str(source)),
            GopherQualityFilter(),
            GopherRepetitionFilter(),
            C4QualityFilter(filter_no_terminal_punct=False),
            FineWebQualityFilter(),
        ],
        logging_dir=str(out / "logs"),
    ).run()


def our_files(source: Path, out: Path) -> None:
    _our_files(out, False)


def our_files_gzip(source: Path, out: Path) -> None:
    _our_files(out, True)


def _our_files(out: Path, packed: bool) -> None:
    from llmos.data.preparation.executors import Stage, Where

    work = _our_gzip_task if packed else _our_plain_task
    Where().run([Stage("files", work, out, 1)], lambda *_: None)


def _our_plain_task(out: Path, number: int) -> None:
    from llmos.data.preparation.lines import to_line
    from llmos.data.preparation.settings import Settings
    from llmos.storage import atomic_writer

    settings = Settings(sources=(os.environ["LLMOS_BENCH_SOURCE"],))
    with atomic_writer(out / "out.jsonl", durable=False) as file:
        for document in _read(settings):
            file.write(to_line(document, settings.data))


def _our_gzip_task(out: Path, number: int) -> None:
    from llmos.data.preparation.aside import plain_gzip
    from llmos.data.preparation.lines import to_line
    from llmos.data.preparation.settings import Settings
    from llmos.storage import atomic_writer

    settings = Settings(sources=(os.environ["LLMOS_BENCH_SOURCE"],))
    with atomic_writer(out / "out.jsonl.gz", durable=False) as file, plain_gzip(file) as lines:
        for document in _read(settings):
            lines.write(to_line(document, settings.data))


def their_files(source: Path, out: Path) -> None:
    _their_files(source, out, None)


def their_files_gzip(source: Path, out: Path) -> None:
    _their_files(source, out, "gzip")


def _their_files(source: Path, out: Path, compression: Any) -> None:
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    LocalPipelineExecutor(
        [JsonlReader(str(source)), JsonlWriter(str(out / "text"), compression=compression)],
        logging_dir=str(out / "logs"),
    ).run()


def whole(source: Path, out: Path) -> None:
    from llmos.data.preparation.prepare import prepare
    from llmos.data.preparation.settings import Settings

    prepare(Settings(sources=(str(source),)), out / "prepared")


SIDES: dict[str, Callable[[Path, Path], None]] = {
    side.__name__: side
    for side in (
        our_steps,
        their_steps,
        our_files,
        their_files,
        our_files_gzip,
        their_files_gzip,
        whole,
    )
}


def measured(side: str, source: Path) -> tuple[float, float]:
    """Processor seconds, with those of child processes, and peak MiB of one run of a side."""
    with tempfile.TemporaryDirectory() as out:
        done = subprocess.run(
            [sys.executable, __file__, "--side", side, str(source), out],
            env={**os.environ, "LLMOS_BENCH_SOURCE": str(source), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-2000:]}")
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak


def run_side(side: str, source: Path, out: Path) -> None:
    SIDES[side](source, out)
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    seconds = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    print(json.dumps([seconds, max(own.ru_maxrss, children.ru_maxrss) / 1024]))


def speed(side: str, corpus: tuple[Path, int], nothing: Path) -> float:
    """MB of text a processor second, start-up taken off."""
    source, size = corpus
    return size / 1e6 / (measured(side, source)[0] - measured(side, nothing)[0])


def compare(
    ours: str,
    theirs: str,
    big: tuple[Path, int],
    small: tuple[Path, int],
    nothing: Path,
    turns: int,
) -> None:
    """Both sides by turns; medians, and the ratios of the turns."""
    pairs = [(speed(ours, big, nothing), speed(theirs, small, nothing)) for _ in range(turns)]
    mine, peer = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = sorted(a / b for a, b in pairs)
    print(
        f"| {ours} | {mine:.2f} | {peer:.2f} | {statistics.median(ratios):.1f} "
        f"[{ratios[0]:.1f}, {ratios[-1]:.1f}] |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--peer-megabytes", type=float, default=3)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--part", default="steps,files,memory")
    parser.add_argument("--side", nargs=3, metavar=("NAME", "SOURCE", "OUT"), help="internal")
    arguments = parser.parse_args()
    if arguments.side:
        name, source, out = arguments.side
        run_side(name, Path(source), Path(out))
        return
    if not arguments.data.is_dir():
        print(f"skipped: no {arguments.data}; name the folder of the data sets with --data")
        return
    work = Path(tempfile.mkdtemp(prefix="llmos-bench-"))
    try:
        parts = arguments.part.split(",")
        corpora = {}
        for name, megabytes in (
            ("big", arguments.megabytes),
            ("tenth", arguments.megabytes / 10),
            ("small", arguments.peer_megabytes),
            ("nothing", 0.005),
        ):
            path = work / name
            corpora[name] = (path, write_corpus(arguments.data, megabytes, path / "text.jsonl"))
        big, nothing = corpora["big"], corpora["nothing"][0]
        if {"steps", "files"} & set(parts):
            print("| side | llmos, MB/s | datatrove, MB/s | ratio |\n|---|---:|---:|---:|")
        if "steps" in parts:
            compare("our_steps", "their_steps", big, corpora["small"], nothing, arguments.turns)
        if "files" in parts:
            compare("our_files", "their_files", big, big, nothing, arguments.turns)
            compare("our_files_gzip", "their_files_gzip", big, big, nothing, arguments.turns)
        if "memory" in parts:
            (seconds, peak), (_tenth_seconds, tenth) = (
                measured("whole", corpora[name][0]) for name in ("big", "tenth")
            )
            print(
                f"\nAll stages: {big[1] / 1e6 / seconds:.2f} MB/s; peak memory {peak:.0f} MiB, "
                f"with a tenth of the text {tenth:.0f} MiB: {peak / tenth:.2f} times"
            )
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
