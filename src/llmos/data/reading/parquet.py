"""Parquet files: records row by row, divided by row groups."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from llmos.data.documents import Document
from llmos.data.reading.parts import Part, Problem, UnreadableError
from llmos.data.reading.streams import LONGEST, TOO_LONG
from llmos.data.reading.tables import made
from llmos.data.rows import Row
from llmos.recipe import DataSection

DAMAGED = "a damaged Parquet file"
ROWS = 1000
"""Rows that are read at a time; fewer where they are long."""
_USED = {
    "lang", "language", "licence", "license", "url", "messages", "context", "question", "answers",
    "answer", "answer_start",
}  # fmt: skip
"""Columns that `records` looks for besides those that the recipe names."""


def row_groups(path: str, limit: int) -> Iterator[tuple[int, int, int, int]]:
    """Ranges of row groups of at most `limit` bytes (one may have more).

    Of each the first group, the one behind the last, the number of its first row, and its bytes
    once expanded. Raises `UnreadableError` for a damaged file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
            sizes = [(group.num_rows, group.total_byte_size) for group in groups]
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(error, DAMAGED) from error
    start, first, row, weight = 0, 1, 1, 0
    for index, (rows, size) in enumerate(sizes):
        if weight and weight + size > limit:
            yield start, index, first, weight
            start, first, weight = index, row, 0
        row += rows
        weight += size
    if sizes:
        yield start, len(sizes), first, weight


def read_parquet(part: Part, data: DataSection, record: str) -> Iterator[Document | Problem]:
    """A record a row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(part.path)
    named = {data.text_field, data.source_field, data.target_field, data.label_field}
    number = part.first
    try:
        with pq.ParquetFile(path) as file:
            columns = [name for name in file.schema_arrow.names if name in named | _USED]
            groups = range(part.start, part.end)
            rows = sum(file.metadata.row_group(group).num_rows for group in groups)
            size = sum(file.metadata.row_group(group).total_byte_size for group in groups)
            at_once = max(1, min(ROWS, LONGEST * rows // max(size, 1)))
            batches = file.iter_batches(
                batch_size=at_once, row_groups=list(groups), columns=columns, use_threads=False
            )
            for batch in batches:
                for values in batch.to_pylist():
                    row = Row(path, f"row {number}", f"{part.name}:{number}", values)
                    found = made(row, data, record)
                    if isinstance(found, Document) and len(found.text) > LONGEST:
                        found = Problem(f"{path} row {number}", TOO_LONG)
                    yield found
                    number += 1
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        reason = f"{DAMAGED}: what stands before the damage was read"
        raise _unreadable(error, reason) from error


def _unreadable(error: Exception, reason: str) -> Exception:
    """An error of the operating system as it is; pyarrow raises some of its own as `OSError`."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    return UnreadableError(reason)
