"""Read one part of a plan, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from llmos.data.documents import Document
from llmos.data.reading.finding import unreadable
from llmos.data.reading.parallel import read_aligned, read_columns, read_mo, read_po
from llmos.data.reading.parquet import read_parquet
from llmos.data.reading.parts import Part, Problem, UnreadableError
from llmos.data.reading.tables import read_csv, read_json, read_json_lines, read_tsv, wrong
from llmos.data.reading.texts import read_html, read_pieces, read_text
from llmos.data.reading.tmx import read_tmx
from llmos.data.reading.warc import read_warc
from llmos.data.rows import RecordError
from llmos.recipe import DataSection

Reader = Callable[[Part, DataSection, str], Iterator[Document | Problem]]

READERS: dict[str, Reader] = {
    "text": read_text,
    "pieces": read_pieces,
    "html": read_html,
    "jsonl": read_json_lines,
    "csv": read_csv,
    "tsv": read_tsv,
    "columns": read_columns,
    "aligned": read_aligned,
    "parquet": read_parquet,
    "warc": read_warc,
    "po": read_po,
    "mo": read_mo,
    "tmx": read_tmx,
    "json": read_json,
}
"""By the format of a part. Each yields documents and problems in the order of the file, and raises
`UnreadableError`, `RecordError` or `OSError` where it cannot go on."""


def read_part(part: Part, data: DataSection, record: str) -> Iterator[Document | Problem]:
    """The documents of a part, and a problem for each place that could not be read.

    `record` is the kind of its records and `data` names their fields, as for
    `sources.read_source`. What a document states of itself (language, licence, url) it keeps; what
    the part states is left to the caller.
    """
    try:
        yield from READERS[part.format](part, data, record)
    except UnreadableError as error:
        yield Problem(part.path, str(error))
    except RecordError as error:
        yield wrong(Path(part.path), error)
    except OSError as error:
        yield unreadable(Path(part.path), error)
