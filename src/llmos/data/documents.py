"""What a member's text is made of, and how it is divided into training and held-out parts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from llmos.errors import DataError

_PARAGRAPH_END = re.compile(r"\n\s*\n")


@dataclass(frozen=True)
class Document:
    """One text of a member. `id` is the member's own name for it and never leaves the member."""

    id: str
    text: str


@dataclass(frozen=True)
class Split:
    """Documents divided by the hash of their text, plus how many exact repeats were dropped."""

    train: list[Document]
    validation: list[Document]
    test: list[Document]
    repeats: int


def cut(document: Document, part_bytes: int) -> list[Document]:
    """Cut a document at paragraph ends into parts of about `part_bytes` bytes of UTF-8.

    Nothing is lost: the parts joined give the document. `part_bytes` 0 leaves it whole.
    """
    if part_bytes <= 0 or len(document.text.encode()) <= part_bytes:
        return [document]
    parts: list[Document] = []
    start = size = 0
    position = 0
    ends = [match.end() for match in _PARAGRAPH_END.finditer(document.text)]
    for end in [*ends, len(document.text)]:
        size += len(document.text[position:end].encode())
        position = end
        if size >= part_bytes or end == len(document.text):
            if text := document.text[start:end]:
                parts.append(Document(f"{document.id}#{len(parts)}", text))
            start, size = end, 0
    return parts


def split_documents(
    documents: Iterable[Document], *, validation: float, test: float, seed: int
) -> Split:
    """Divide documents by a hash of (seed, text), so that no order or shard changes their side.

    The same text at two members falls on the same side. Exact repeats within a member are dropped.
    `validation` and `test` are shares of the documents; where the hash leaves a held-out part
    empty (few documents), the document with the smallest hash is taken for it.
    Raises `DataError` when fewer than three different documents are there.
    """
    placed: dict[bytes, Document] = {}
    repeats = 0
    for document in documents:
        digest = hashlib.sha256(f"llmos-split/{seed}/".encode() + document.text.encode()).digest()
        if digest in placed:
            repeats += 1
        else:
            placed[digest] = document
    if len(placed) < 3:
        raise DataError(
            f"only {len(placed)} different document(s): at least 3 are needed, for training, "
            "validation and test; add documents, or cut long ones by the recipe's data.part_bytes"
        )
    order = sorted(placed)
    place = {digest: int.from_bytes(digest[:8], "big") / 2**64 for digest in order}
    in_test = [d for d in order if place[d] < test] or order[:1]
    rest = order[len(in_test) :]
    in_validation = [d for d in rest if place[d] < test + validation] or rest[:1]
    in_train = rest[len(in_validation) :]
    if not in_train:
        raise DataError(
            f"the held-out shares (validation {validation}, test {test}) leave none of the "
            f"{len(placed)} documents for training: lower them in the recipe's [data]"
        )
    return Split(
        train=[placed[d] for d in in_train],
        validation=[placed[d] for d in in_validation],
        test=[placed[d] for d in in_test],
        repeats=repeats,
    )
