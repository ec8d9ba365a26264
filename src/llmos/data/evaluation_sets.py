"""All strings of an evaluation set, whatever its format: texts, JSON Lines, JSON (also SQuAD's),
CSV, TSV and Parquet, the first five also as .gz."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from llmos.data.prepared import strings_in
from llmos.data.rows import ROWS
from llmos.errors import DataError

TEXTS = (".txt", ".md")
SUFFIXES = (*TEXTS, ".json", *ROWS, ".parquet")
Stamp = tuple[Path, int, int]
"""A file, when it was changed last, in ns, and its bytes: whether it is still the same."""


def stamps(path: Path) -> tuple[Stamp, ...]:
    """The files of an evaluation set: one, or all of a known suffix in a folder.

    Raises `DataError` where there are none.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist: name the file or folder of an evaluation set")
    inside = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    files = [file for file in inside if _suffix(file) in SUFFIXES]
    if not files:
        raise DataError(
            f"{path} is no evaluation set: give {', '.join(SUFFIXES)} files (or their .gz)"
        )
    found = ((file, file.stat()) for file in files)
    return tuple((file, stat.st_mtime_ns, stat.st_size) for file, stat in found)


def _suffix(file: Path) -> str:
    return Path(file.name.lower().removesuffix(".gz")).suffix


def strings_of_set(files: Iterable[Stamp]) -> Iterator[str]:
    """All strings of the records in `files`; a text file is one string.

    Raises `DataError` naming the file and, where there is one, the line that is not in order.
    """
    for file, _, _ in files:
        suffix = _suffix(file)
        if suffix == ".parquet":
            yield from _parquet(file)
        elif suffix in ROWS:
            for row in ROWS[suffix](_read(file), file, file.name):
                yield from strings_in(row.values)
        elif suffix == ".json":
            try:
                yield from strings_in(json.loads(_read(file)))
            except (ValueError, RecursionError) as error:
                raise DataError(f"{file} is not JSON ({error}): repair it") from error
        else:
            yield _read(file)


def _read(file: Path) -> str:
    try:
        data = file.read_bytes()
        return (gzip.decompress(data) if file.suffix.lower() == ".gz" else data).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read ({error}): save it as UTF-8") from error


def _parquet(file: Path) -> Iterator[str]:
    import pyarrow
    from pyarrow import parquet

    try:
        for batch in parquet.ParquetFile(file).iter_batches():
            yield from strings_in(batch.to_pylist())
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{file} is no Parquet file ({error}): replace it") from error
