"""A prepared folder as Parquet files, as the Hugging Face hub has them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmos.data.prepared import ORIGIN, Record, document_files, records
from llmos.errors import DataError
from llmos.records import JSON
from llmos.storage import atomic_writer, storage_errors

FILE_BYTES = 500_000_000
"""Of a file at most, as `datasets.Dataset.push_to_hub` has it."""
GROUP_BYTES = 32 << 20
"""Lines of JSON in a row group: what a reader, and this writer, has in memory at once."""
ID_DIGITS = 32
_OWN = (*ORIGIN, "url")


def write_parquet(
    folder: Path,
    card: JSON,
    out: Path,
    *,
    file_bytes: int = FILE_BYTES,
    group_bytes: int = GROUP_BYTES,
) -> list[Path]:
    """Write the documents of `folder` to out/train-00000-of-0000N.parquet; the files.

    The columns are those of the lines. `id`, which is the member's own name for a document, is
    replaced by a hash of the content. Raises `DataError` for a folder that is not as its card says.
    """
    from pyarrow import Table, parquet

    groups = _groups(folder, card, group_bytes)
    group = next(groups, None)
    if group is None:
        raise DataError(f"{folder} has no document left: there is nothing to publish")
    schema = _schema(group[0][0])
    parts: list[Path] = []
    with storage_errors(out):
        out.mkdir(parents=True)
        while group is not None:
            parts.append(out / f"{len(parts)}.part")
            with (
                atomic_writer(parts[-1]) as file,
                parquet.ParquetWriter(file, schema, compression="zstd", version="2.6") as writer,
            ):
                begun = False
                while group is not None and not (begun and file.tell() + group[1] > file_bytes):
                    rows = [_row(record, schema) for record in group[0]]
                    writer.write_table(Table.from_pylist(rows, schema))
                    begun = True
                    group = next(groups, None)
        files = [out / f"train-{n:05d}-of-{len(parts):05d}.parquet" for n in range(len(parts))]
        for part, name in zip(parts, files, strict=True):
            part.rename(name)
    return files


def _groups(folder: Path, card: JSON, limit: int) -> Iterator[tuple[list[Record], int]]:
    """All records, in groups of so many bytes; each with its bytes."""
    group: list[Record] = []
    size = 0
    told = {entry["name"]: entry["sha256"] for entry in card["files"]}
    for file in document_files(folder):
        digest = hashlib.sha256()
        for record in records(file, digest):
            if group and size + len(record.line) > limit:
                yield group, size
                group, size = [], 0
            group.append(record)
            size += len(record.line)
        if told.pop(file.relative_to(folder).as_posix(), "") != digest.hexdigest():
            raise DataError(f"{file} is not what card.json says of it: prepare the text again")
    if told:
        raise DataError(f"{folder / min(told)} is missing: prepare the text again")
    if group:
        yield group, size


def _schema(record: Record) -> Any:
    """The columns of a folder by one record: all of a folder are of one kind."""
    import pyarrow as pa

    text = pa.string()
    kinds = {
        "messages": pa.list_(pa.struct({"role": text, "content": text})),
        "answers": pa.list_(pa.struct({"text": text, "answer_start": pa.int64()})),
    }
    parts = [name for name in record.values if name not in _OWN]
    return pa.schema([(name, kinds.get(name, text)) for name in ("id", *parts, *_OWN[1:])])


def _row(record: Record, schema: Any) -> JSON:
    import orjson

    parts = {name: value for name, value in record.values.items() if name not in _OWN}
    if unknown := parts.keys() - set(schema.names):
        raise DataError(
            f"a document has the field {min(unknown)!r}, which the first one has not: prepare "
            "records of different kinds into different folders"
        )
    content = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
    return {**record.values, "id": hashlib.sha256(content).hexdigest()[:ID_DIGITS]}
