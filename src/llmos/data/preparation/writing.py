"""Stage 3, a task a chunk: take duplicates out, write the documents that a run reads."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path

from llmos.data.dedup.duplicates import Removals
from llmos.data.preparation.aside import plain_gzip, set_aside
from llmos.data.preparation.cleaning import cleaned_documents
from llmos.data.preparation.lines import to_line
from llmos.data.preparation.places import Places, read_json, write_json
from llmos.data.preparation.settings import Settings
from llmos.data.preparation.tokens import TokenCounter
from llmos.data.steps.protected import Protected
from llmos.data.steps.step import Drop
from llmos.data.tally import Tally
from llmos.storage import atomic_writer

STAGE = "write"


def write_chunk(work: Path, number: int) -> None:
    """Write the documents of one chunk that stay, and count them."""
    places = Places.of_work(work)
    settings = Settings.from_json(read_json(places.settings)["settings"])
    removals = Removals(places.removals, number)
    protected = Protected(settings.protected) if settings.protected else None
    counter = TokenCounter(settings.tokenizer)
    tally = Tally()
    digest = hashlib.sha256()
    size = 0
    with ExitStack() as stack:
        file = stack.enter_context(atomic_writer(places.documents(number)))
        out = stack.enter_context(plain_gzip(file))
        aside = stack.enter_context(
            set_aside(places.dropped(STAGE, number), settings.keep_dropped, settings.data)
        )
        for position, document in enumerate(cleaned_documents(places, number)):
            result = removals.of(position, document)
            if protected is not None and not isinstance(result, Drop):
                # Once more: what the other steps changed may have brought a pattern about.
                result = protected(result, tally.changed)
            if isinstance(result, Drop):
                tally.dropped[result.reason] += 1
                aside(document, result.reason)
                continue
            if result.text != document.text:
                tally.changed["duplicate_lines_documents"] += 1
            line = to_line(result, settings.data)
            out.write(line)
            digest.update(line)
            size += len(line)
            tally.take(result)
            counter.add(result.text)
    # The hash is that of the lines, not of the archive: libraries compress differently.
    report = {
        "tally": tally.to_json(),
        "tokens": counter.total(),
        "file": {
            "name": places.documents(number).relative_to(places.folder).as_posix(),
            "documents": sum(tally.licences.values()),
            "bytes": size,
            "sha256": digest.hexdigest(),
        },
    }
    write_json(places.report(STAGE, number), report)
