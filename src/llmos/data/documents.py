"""What a member's text is made of, and how it is divided into training and held-out parts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from llmos.errors import DataError

_PARAGRAPHS = re.compile(r"\n\s*\n")
# Where a paragraph far too long is cut: at line ends, within long lines at sentence ends.
_FINER = (re.compile(r"\n"), re.compile(r"[.!?…]\s+|[。！？]"))


@dataclass(frozen=True)
class Document:
    """One text of a member. `id` is the member's own name for it and never leaves the member.

    A record of several parts (source and target, text and label) has them in `fields`; its `text`
    is all of them, for the tokenizer. Documents of one `key` (such as the questions on one
    context) fall on the same side of the held-out split; by default each text is its own key.
    """

    id: str
    text: str
    fields: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    language: str = ""
    """Code of the language, where the record says it or a step of the preparation found it."""
    source: str = ""
    """Name of the source that the document came from, as the data card lists it."""
    licence: str = ""
    """SPDX expression, where the record or its source states one."""
    url: str = ""
    """Where it was published, for opt-outs by domain."""

    @property
    def content(self) -> str:
        """The text, or all fields with their names: what makes two documents the same."""
        return json.dumps(self.fields, sort_keys=True) if self.fields else self.text


@dataclass(frozen=True)
class Split:
    """Documents divided by the hash of their text, plus how many exact repeats were dropped."""

    train: list[Document]
    validation: list[Document]
    test: list[Document]
    repeats: int


def cut(document: Document, part_bytes: int) -> list[Document]:
    """Cut a document at paragraph ends into parts of about `part_bytes` bytes of UTF-8.

    Nothing is lost: the parts joined give the document. Each has at least `part_bytes` (the last
    may have fewer) and at most three times as many: a paragraph of more than twice `part_bytes`
    is cut at line ends, a line as long at sentence ends, a sentence as long anywhere.
    `part_bytes` 0 leaves the document whole.
    """
    if part_bytes <= 0 or len(document.text.encode()) <= part_bytes:
        return [document]
    parts: list[str] = []
    held: list[str] = []
    size = 0
    for piece in _pieces(document.text, part_bytes, (_PARAGRAPHS, *_FINER)):
        held.append(piece)
        size += len(piece.encode())
        if size >= part_bytes:
            parts.append("".join(held))
            held, size = [], 0
    if held:
        parts.append("".join(held))
    return [
        replace(document, id=f"{document.id}#{number}", text=text)
        for number, text in enumerate(parts)
    ]


def _pieces(text: str, part_bytes: int, ends: Sequence[re.Pattern[str]]) -> Iterator[str]:
    """`text` cut behind each match of the first of `ends`; pieces far too long by the next."""
    if not ends:
        step = max(1, part_bytes // 4)  # a character has at most 4 bytes
        yield from (text[at : at + step] for at in range(0, len(text), step))
        return
    start = 0
    for end in [*(match.end() for match in ends[0].finditer(text)), len(text)]:
        piece = text[start:end]
        start = end
        if len(piece.encode()) > 2 * part_bytes:
            yield from _pieces(piece, part_bytes, ends[1:])
        elif piece:
            yield piece


def split_digest(document: Document, seed: int) -> bytes:
    """What decides the side of a document: a hash of (seed, key), 32 bytes."""
    key = document.key or document.text
    return hashlib.sha256(f"llmos-split/{seed}/{key}".encode()).digest()


def _place(digest: bytes) -> float:
    """Where among all keys a hash stands, from 0 to 1."""
    return int.from_bytes(digest[:8], "big") / 2**64


def side_of(digest: bytes, *, validation: float, test: float) -> str:
    """The side of a document by its hash alone: train, validation or test.

    The rule of `split_documents`, for texts too large to be seen as a whole: there is no part that
    another key could be taken for where it stays empty.
    """
    place = _place(digest)
    if place < test:
        return "test"
    return "validation" if place < test + validation else "train"


def split_documents(
    documents: Iterable[Document], *, validation: float, test: float, seed: int
) -> Split:
    """Divide documents by a hash of (seed, key), so that no order or shard changes their side.

    The same text at two members falls on the same side. Exact repeats within a member are dropped.
    `validation` and `test` are shares of the keys. Where the hash leaves a part empty (few
    documents, or a share of 0), the next key in the order of the hashes is taken for it, and
    that one may be on another side at another member.
    Raises `DataError` when fewer than three different keys are there.
    """
    groups: dict[bytes, dict[str, Document]] = {}
    repeats = 0
    for document in documents:
        group = groups.setdefault(split_digest(document, seed), {})
        if document.content in group:
            repeats += 1
        else:
            group[document.content] = document
    if len(groups) < 3:
        raise DataError(
            f"only {len(groups)} different document(s): at least 3 are needed, for training, "
            "validation and test; add documents, or cut long ones by the recipe's data.part_bytes"
        )
    order = sorted(groups)
    in_test = [d for d in order[:-2] if _place(d) < test] or order[:1]
    rest = order[len(in_test) :]
    in_validation = [d for d in rest[:-1] if _place(d) < test + validation] or rest[:1]
    in_train = rest[len(in_validation) :]

    def documents_of(digests: Sequence[bytes]) -> list[Document]:
        return [document for digest in digests for _, document in sorted(groups[digest].items())]

    return Split(
        train=documents_of(in_train),
        validation=documents_of(in_validation),
        test=documents_of(in_test),
        repeats=repeats,
    )
