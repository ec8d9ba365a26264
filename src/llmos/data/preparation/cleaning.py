"""Stage 1, a task a chunk: read its documents, clean them, leave fingerprints of duplicates.

What a task leaves depends on its chunk and the settings alone: a task that was killed and runs
again leaves the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import zstandard

from llmos.data.dedup.fingerprints import FingerprintWriter
from llmos.data.documents import Document
from llmos.data.preparation.aside import set_aside
from llmos.data.preparation.chain import Chain
from llmos.data.preparation.lines import pack_document, unpack_document
from llmos.data.preparation.places import Places, read_json, write_json
from llmos.data.preparation.settings import Settings
from llmos.data.reading.chunks import Chunk, Part, Problem, read_part
from llmos.data.steps.step import Drop
from llmos.data.tally import Tally
from llmos.storage import atomic_writer

STAGE = "clean"
LEVEL = 1
"""Of zstd: what is written here is read once and thrown away."""
READ_BYTES = 1 << 20


def clean_chunk(work: Path, number: int) -> None:
    """Read and clean one chunk."""
    places = Places.of_work(work)
    settings = Settings.from_json(read_json(places.settings)["settings"])
    chunk = _chunk(places, number)
    tally = Tally()
    problems: list[Problem] = []
    chain = Chain(settings)
    with ExitStack() as stack:
        file = stack.enter_context(atomic_writer(places.cleaned(number)))
        out = stack.enter_context(
            zstandard.ZstdCompressor(level=LEVEL).stream_writer(file, closefd=False)
        )
        aside = stack.enter_context(
            set_aside(places.dropped(STAGE, number), settings.keep_dropped, settings.data)
        )
        prints = FingerprintWriter(
            places.fingerprints,
            number,
            near=settings.rules.near_duplicates,
            lines=settings.rules.line_documents > 0,
        )
        for document in _documents(chunk, settings, tally, problems):
            result = chain(document, tally.changed)
            if isinstance(result, Drop):
                tally.dropped[result.reason] += 1
                aside(document, result.reason)
            else:
                out.write(pack_document(result))
                prints.add(result)
        prints.close()
    report: dict[str, Any] = {
        "tally": tally.to_json(),
        "problems": [[problem.path, problem.reason] for problem in problems],
        "findings": chain.findings(),
    }
    write_json(places.report(STAGE, number), report)


def _chunk(places: Places, number: int) -> Chunk:
    value = read_json(places.chunk(number))
    return Chunk(value["number"], tuple(Part(**part) for part in value["parts"]))


def _documents(
    chunk: Chunk, settings: Settings, tally: Tally, problems: list[Problem]
) -> Iterator[Document]:
    """The documents of a chunk, their origin told; what cannot be read goes to `problems`."""
    for part in chunk.parts:
        for found in read_part(part, settings.data, settings.record):
            if isinstance(found, Problem):
                problems.append(found)
                continue
            tally.read[f"documents\t{part.source}"] += 1
            tally.read[f"bytes\t{part.source}"] += len(found.text.encode())
            yield replace(
                found,
                source=part.source,
                licence=found.licence or part.licence or settings.licence,
                language=found.language or part.language,
            )


def cleaned_documents(places: Places, number: int) -> Iterator[Document]:
    """The documents that `clean_chunk` left."""
    with zstandard.open(places.cleaned(number), "rb") as file:
        for line in io.BufferedReader(file, READ_BYTES):
            yield unpack_document(line)
