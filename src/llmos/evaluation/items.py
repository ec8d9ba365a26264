"""The items of a benchmark: what is asked, and what the right answers are."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmos.data.rows import ROWS, squad
from llmos.errors import UsageError
from llmos.evaluation.suites import Benchmark, Find
from llmos.records import canonical_json
from llmos.storage import sha256_hex

_PLACE = re.compile(r"\{([\w.*-]+)\}")
_BREAK = re.compile(r"\s*\n\s*")
PREDICTION = "{prediction}"
TEXT_BLOCK = 2000
"""Characters of a text that are an item of their own, ended at a line: the unit of intervals, as
`models.scoring.BLOCK_BYTES` is of bytes."""


@dataclass(frozen=True)
class Item:
    """program: what stands before and behind a prediction that is to be run."""

    inputs: Mapping[str, str]
    references: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    program: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Answer:
    """What a model said to an item.

    numbers: of a text (nats, tokens, bytes), of a problem (programs written, programs passed).
    """

    text: str = ""
    numbers: tuple[float, ...] = ()


def items_sha256(items: Sequence[Item]) -> str:
    """What two sets of the same items have in common."""
    return sha256_hex(canonical_json([asdict(item) for item in items]))


def load_items(benchmark: Benchmark, folder: Path) -> list[Item]:
    """The items, in the order of the files; records whose input or answer is empty are none.

    Raises `UsageError` for a file that is missing or not as the benchmark says, naming it.
    """
    records = [
        (place, record)
        for place, record in _records(benchmark, folder)
        if all(_found(k, record, place) == [v] for k, v in benchmark.data.where.items())
    ]
    examples, asked = records[: benchmark.shots], records[benchmark.shots :]
    limit = benchmark.data.limit
    if 0 < limit < len(asked):
        asked = [asked[at * len(asked) // limit] for at in range(limit)]
    shots = [_item(benchmark, place, record) for place, record in examples]
    found = [_item(benchmark, place, record) for place, record in asked]
    found = [item for item in found if _is_whole(benchmark, item)]
    if not found:
        raise UsageError(f"benchmark {benchmark.name!r} has no items in {_named(benchmark)}")
    return [_with_examples(item, shots) for item in found] if shots else found


def _is_whole(benchmark: Benchmark, item: Item) -> bool:
    if not all(text.strip() for name, text in item.inputs.items() if name != "before"):
        return False
    return bool(item.references) or not benchmark.references


def _with_examples(item: Item, shots: Sequence[Item]) -> Item:
    """With examples in front of the field that asks, a blank line after each."""
    (name,) = item.inputs
    before = "".join(f"{shot.inputs[name]}{_gap(shot, name)}\n\n" for shot in shots)
    inputs = {name: before + item.inputs[name]}
    return Item(inputs, item.references, item.choices, item.program)


def _gap(shot: Item, name: str) -> str:
    blank = "" if shot.inputs[name].endswith((" ", "\n")) else " "
    return blank + shot.references[0]


def _item(benchmark: Benchmark, place: str, record: Mapping[str, Any]) -> Item:
    def text(template: str) -> str:
        return _filled(template, record, place)

    wanted = benchmark.references
    templates = (wanted,) if isinstance(wanted, str) else wanted
    references = [one for template in templates for one in _texts(template, record, place)]
    choices: tuple[str, ...] = ()
    if isinstance(benchmark.choices, Find):
        found = re.findall(benchmark.choices.find, text(benchmark.choices.text))
        choices = tuple(dict.fromkeys(found))
    elif benchmark.choices:
        choices = tuple(
            c for template in benchmark.choices for c in _texts(template, record, place)
        )
    if benchmark.task == "choice" and references and references[0] not in choices:
        raise UsageError(f"{place}: the answer {references[0][:40]!r} is none of its choices")
    before, _, behind = benchmark.program.partition(PREDICTION)
    return Item(
        {name: text(template) for name, template in benchmark.inputs.items()},
        tuple(one for one in references if one.strip()),
        choices,
        (text(before), text(behind)),
    )


def _filled(template: str, record: Mapping[str, Any], place: str) -> str:
    return _PLACE.sub(lambda found: " ".join(_found(found[1], record, place)), template)


def _texts(template: str, record: Mapping[str, Any], place: str) -> list[str]:
    """A template that is one field alone may stand for several texts."""
    alone = _PLACE.fullmatch(template)
    return _found(alone[1], record, place) if alone else [_filled(template, record, place)]


def _found(path: str, record: Mapping[str, Any], place: str) -> list[str]:
    """The texts at a path; a list at its end is all of them."""
    values: list[Any] = [record]
    for part in path.split("."):
        below: list[Any] = []
        for value in values:
            if part == "*" and isinstance(value, list):
                below += value
            elif isinstance(value, Mapping) and part in value:
                below.append(value[part])
            elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
                below.append(value[int(part)])
            else:
                have = list(value)[:8] if isinstance(value, Mapping) else type(value).__name__
                raise UsageError(f"{place} has no {path!r}: it has {have}")
        values = below
    flat = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in flat]


def _named(benchmark: Benchmark) -> str:
    return ", ".join(benchmark.data.paths)


def _records(benchmark: Benchmark, folder: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each record and its place in words."""
    data = benchmark.data
    if data.format == "lines":
        columns = [_read(folder / path).split("\n") for path in data.paths]
        if len({len(lines) for lines in columns}) > 1:
            sizes = ", ".join(str(len(lines)) for lines in columns)
            raise UsageError(f"{_named(benchmark)} have {sizes} lines: they belong together")
        for number, fields in enumerate(zip(*columns, strict=True), start=1):
            yield f"{data.paths[0]} line {number}", {str(k): v for k, v in enumerate(fields)}
        return
    for path in data.paths:
        for file in _files(folder, path):
            yield from _of_file(benchmark, file, _read(file))


def _of_file(
    benchmark: Benchmark, file: Path, content: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    data = benchmark.data
    if data.format == "text":
        for number, block in enumerate(_blocks(content), start=1):
            yield f"{file} block {number}", block
    elif data.format == "json":
        try:
            found = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{file} is not JSON ({error}): repair it") from error
        for part in filter(None, data.records.split(".")):
            found = found.get(part) if isinstance(found, dict) else None
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise UsageError(f"{file} has no list of records at {data.records!r}: mend the suite")
        for number, record in enumerate(found):
            yield f"{file} [{number}]", record
    else:
        reader = squad if data.format == "squad" else ROWS[f".{data.format}"]
        if data.format in ("csv", "tsv") and not data.header:
            separator = "\t" if data.format == "tsv" else ","
            first = content.split("\n", 1)[0].removesuffix("\r")
            names = separator.join(str(n) for n in range(first.count(separator) + 1))
            content = f"{names}\n{content}"
        for row in reader(content, file, file.name):
            yield f"{file} {row.place}", row.values


def _blocks(content: str) -> Iterator[dict[str, str]]:
    """A text in pieces, each with the one before it: {"before", "text"}.

    A piece begins with the line break that parts it from the one before, because a blank is scored
    with what follows it.
    """
    before, start = "", 0
    for found in _BREAK.finditer(content):
        if found.start() - start >= TEXT_BLOCK:
            text = content[start : found.start()]
            yield {"before": before, "text": text}
            before, start = text, found.start()
    if content[start:].strip():
        yield {"before": before, "text": content[start:].rstrip()}


def _files(folder: Path, path: str) -> list[Path]:
    """The files of a path, which may have `*` in its last part."""
    found = sorted(folder.glob(path)) if "*" in path else [folder / path]
    if not found:
        raise UsageError(f"{folder / path} is not there: name the folder of the data by --data")
    return found


def _read(file: Path) -> str:
    try:
        data = file.read_bytes()
        return (gzip.decompress(data) if file.suffix == ".gz" else data).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError(
            f"{file} is not there: name the folder of the data by --data DIR or LLMOS_DATA"
        ) from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read ({error}): save it as UTF-8") from error
