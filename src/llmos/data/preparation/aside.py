"""Documents that were dropped, kept aside with the reason, where the member wants to see them."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import orjson

from llmos.data.documents import Document
from llmos.data.preparation.lines import to_line
from llmos.recipe import DataSection
from llmos.storage import atomic_writer

GZIP_LEVEL = 3
"""About as small as the usual 6, at twice the speed."""


@contextmanager
def set_aside(
    path: Path, wanted: bool, data: DataSection
) -> Iterator[Callable[[Document, str], None]]:
    """What to call with each dropped document and its reason; writes to `path` where `wanted`.

    The lines are those of documents that are kept, with the reason as "dropped".
    """
    if not wanted:
        yield lambda document, reason: None
        return
    with atomic_writer(path) as file, plain_gzip(file) as out:

        def write(document: Document, reason: str) -> None:
            line = {"dropped": reason, **orjson.loads(to_line(document, data))}
            out.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

        yield write


def plain_gzip(file: IO[bytes]) -> gzip.GzipFile:
    """A gzip stream into `file` without a name and a time: the same text, the same bytes."""
    return gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=GZIP_LEVEL, mtime=0)
