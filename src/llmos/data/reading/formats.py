"""What kind of file a name stands for."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import NamedTuple

FORMATS = (
    "text",  # one document a file: prose, Markdown, source code
    "pieces",  # a text too long for one document, cut at line ends
    "html",
    "jsonl",
    "csv",
    "tsv",
    "columns",  # two columns of sentences without a first line of names: NAME.en-sw.tsv
    "aligned",  # two files of sentences, line by line: NAME.en-sw.en and NAME.en-sw.sw
    "parquet",
    "warc",
    "po",
    "mo",
    "tmx",
    "json",  # SQuAD's questions
)

SPLIT_AT_LINES = ("jsonl", "csv", "tsv")

_SUFFIXES = {
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".warc": "warc",
    ".wet": "warc",
    ".po": "po",
    ".mo": "mo",
    ".tmx": "tmx",
    ".json": "json",
}
_NOT_PROSE = {
    ".arrow", ".css", ".eps", ".ipynb", ".lock", ".map", ".pdf", ".ps", ".rtf", ".svg", ".xml",
    ".xsd", ".xsl", ".xslt",
}  # fmt: skip
"""Of text or nearly so, but no document as it stands."""
_TEXT = {
    ".txt", ".text", ".md", ".markdown", ".rst", ".adoc", ".tex", ".bib", ".org", ".log", ".srt",
    ".vtt", ".py", ".pyi", ".c", ".h", ".cc", ".cpp", ".cxx", ".hpp", ".cs", ".java", ".kt",
    ".scala", ".go", ".rs", ".swift", ".m", ".js", ".mjs", ".jsx", ".ts", ".tsx", ".rb", ".php",
    ".pl", ".pm", ".lua", ".r", ".jl", ".hs", ".ml", ".mli", ".ex", ".exs", ".erl", ".clj",
    ".lisp", ".el", ".f", ".f90", ".f95", ".d", ".dart", ".sh", ".bash", ".zsh", ".fish", ".ps1",
    ".bat", ".sql", ".toml", ".yaml", ".yml", ".ini", ".cfg", ".cmake", ".mk", ".proto", ".vue",
    ".sol", ".asm", ".s", ".v", ".vhd", ".nim", ".zig",
}  # fmt: skip
_LEGAL = re.compile(r"(licen[cs]es?|copying|notice)(\..*)?", re.IGNORECASE)

_CODE = r"([A-Za-z]{2,3}(?:[_-][A-Z][A-Za-z]{1,3})?)"
_TWO_COLUMNS = re.compile(rf".*\.{_CODE}-{_CODE}\.tsv", re.IGNORECASE)
_ALIGNED = re.compile(rf"(.*\.{_CODE}-{_CODE})\.([A-Za-z_-]+)", re.IGNORECASE)


class Kind(NamedTuple):
    """The format of a file ("" for one that is not read), and whether its name leaves no doubt."""

    format: str
    sure: bool = True


class Alignment(NamedTuple):
    """One of two files of sentences, NAME.SOURCE-TARGET.LANGUAGE."""

    stem: str
    source: str
    target: str
    language: str


def uncompressed(name: str) -> str:
    """The name without .gz or .zst."""
    lower = name.lower()
    return name[: lower.rindex(".")] if lower.endswith((".gz", ".zst")) else name


def kind_of(name: str) -> Kind:
    """The kind of a file by its name; a file of unknown suffix may be text."""
    bare = uncompressed(name)
    suffix = PurePath(bare).suffix.lower()
    if _LEGAL.fullmatch(bare) or suffix in _NOT_PROSE:
        return Kind("")
    if languages_of(bare):
        return Kind("columns")
    if alignment(name):
        return Kind("aligned")
    if suffix in _SUFFIXES:
        return Kind(_SUFFIXES[suffix])
    return Kind("text", suffix in _TEXT)


def languages_of(name: str) -> tuple[str, str] | None:
    """The languages of the columns of a file NAME.en-sw.tsv."""
    match = _TWO_COLUMNS.fullmatch(uncompressed(name))
    return (match[1], match[2]) if match else None


def alignment(name: str) -> Alignment | None:
    """What the name of an aligned file says."""
    match = _ALIGNED.fullmatch(uncompressed(name))
    if match is None or match[4] not in (match[2], match[3]) or match[2] == match[3]:
        return None
    return Alignment(match[1], match[2], match[3], match[4])


def partner(path: str) -> str:
    """The path of the other one of two aligned files."""
    found = alignment(path)
    assert found, path
    other = found.target if found.language == found.source else found.source
    return f"{found.stem}.{other}{path[len(uncompressed(path)) :]}"
