"""A document as a line of JSON, such that the recipe that prepared it also trains on it."""

from __future__ import annotations

import json
from typing import Any

import orjson

from llmos.data.documents import Document
from llmos.recipe import DataSection

PROVENANCE = {"source_name": "source", "licence": "licence", "url": "url"}
"""What a line tells of a document's origin, and the attribute of the document that holds it."""


def to_line(document: Document, data: DataSection) -> bytes:
    """The line of a document, newline included; its text or parts in the fields `data` names."""
    values: dict[str, Any] = {"id": document.id, **_parts(document, data)}
    if document.language:
        values["language"] = document.language
    for name, attribute in PROVENANCE.items():
        if told := getattr(document, attribute):
            values.setdefault(name, told)
    return orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE)


def _parts(document: Document, data: DataSection) -> dict[str, Any]:
    fields = document.fields
    match sorted(fields):
        case []:
            return {data.text_field: document.text}
        case ["source", "target"]:
            return {data.source_field: fields["source"], data.target_field: fields["target"]}
        case ["label", "text"]:
            return {data.text_field: fields["text"], data.label_field: fields["label"]}
        case ["messages"]:
            return {"messages": json.loads(fields["messages"])}
        case ["answer", "context", "question", "start"]:
            answer = {"text": fields["answer"], "answer_start": int(fields["start"])}
            return {
                "context": fields["context"],
                "question": fields["question"],
                "answers": [answer],
            }
    return dict(fields)


def pack_document(document: Document) -> bytes:
    """A document between two stages, whole: a line of JSON, newline included."""
    return orjson.dumps(
        [
            document.id,
            document.text,
            dict(document.fields),
            document.key,
            document.language,
            document.source,
            document.licence,
            document.url,
        ],
        option=orjson.OPT_APPEND_NEWLINE,
    )


def unpack_document(line: bytes) -> Document:
    """The document of a line that `pack_document` wrote."""
    return Document(*orjson.loads(line))
