"""What becomes of a record: a document with its parts in `fields`, by the kind of record.

| kind     | fields                                          | text, a line each | key        |
|----------|-------------------------------------------------|-------------------|------------|
| text     | none                                            | the text          |            |
| pair     | source, target                                  | source, target    | source     |
| chat     | messages: a JSON list of {"role", "content"}    | all contents      | first user |
| labelled | text, label                                     | text              | text       |
| question | context, question, answer, start (in characters)| context, question | context    |

`text` is what a model reads or writes, for the tokenizer: a label is neither, an answer stands in
its context. A record that says its `lang` or `language`, its `licence` or `license`, its `url` and
(where it was prepared) its `source_name` keeps them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from llmos.data.documents import Document
from llmos.data.rows import Row
from llmos.recipe import DataSection

ROLES = ("system", "user", "assistant")


class PassedOverError(Exception):
    """A record that is in order, but of which nothing can be learned; the message says why."""


def _text(row: Row, data: DataSection) -> Document:
    return _document(row, row.text(data.text_field, _setting("text")))


def _pair(row: Row, data: DataSection) -> Document:
    source = _filled(row, data.source_field, _setting("source"), "source")
    target = _filled(row, data.target_field, _setting("target"), "target")
    fields = {"source": source, "target": target}
    return _document(row, f"{source}\n{target}", fields, source)


def _labelled(row: Row, data: DataSection) -> Document:
    text = _filled(row, data.text_field, _setting("text"), "text")
    label = row.text(data.label_field, _setting("label"), or_number=True)
    if not label.strip():
        raise PassedOverError("empty label")
    return _document(row, text, {"text": text, "label": label}, text)


def _chat(row: Row, data: DataSection) -> Document:
    """A list `messages`, or a prompt and an answer in the fields of source and target."""
    if "messages" in row.values:
        messages = _messages(row)
    else:
        prompt = _filled(row, data.source_field, _setting("source"), "prompt")
        answer = _filled(row, data.target_field, _setting("target"), "answer")
        messages = [
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": answer},
        ]
    contents = [message["content"] for message in messages]
    asked = (m["content"] for m in messages if m["role"] == "user")
    fields = {"messages": json.dumps(messages, ensure_ascii=False)}
    return _document(row, "\n".join(contents), fields, next(asked, contents[0]))


def _messages(row: Row) -> list[dict[str, str]]:
    found = row.values["messages"]
    advice = 'write a list of {"role": "user", "content": "..."}'
    if not isinstance(found, list) or not all(isinstance(message, dict) for message in found):
        raise row.error("has messages that are no list of objects", advice)
    messages = []
    for number, message in enumerate(found, start=1):
        place = f"{row.place} message {number}"
        part = Row(row.file, place, row.id, message)
        role = part.text("role", advice)
        if role not in ROLES:
            problem, advice = f"has the role {role[:24]!r}", f"use one of {', '.join(ROLES)}"
            raise part.error(problem, advice, "has a role of no known name")
        messages.append({"role": role, "content": part.text("content", advice)})
    if not any(m["role"] == "assistant" and m["content"].strip() for m in messages):
        raise PassedOverError("no answer")
    return messages


def _question(row: Row, data: DataSection) -> Document:
    """An answer is the first one that stands in the context where it is said to.

    Answers are a list of {text, answer_start} as in SQuAD, {text: [...], answer_start: [...]} as in
    the datasets library, or a text `answer` (with `answer_start`; else its first place is taken).
    """
    context = _filled(row, "context", "add it", "context")
    question = _filled(row, "question", "add it", "question")
    answers = [(text, start) for text, start in _answers(row) if text.strip()]
    if not answers:
        raise PassedOverError("no answer")
    for text, stated in answers:
        start = context.find(text) if stated is None else stated
        if start >= 0 and context.startswith(text, start):
            fields = {"context": context, "question": question, "answer": text, "start": str(start)}
            return _document(row, f"{context}\n{question}", fields, context)
    raise PassedOverError("the answer is not where it is said to be in the context")


def _answers(row: Row) -> list[tuple[str, int | None]]:
    """The answers of a question and where they begin, in characters (None: not said)."""
    found: Any = row.values.get("answers", row.values.get("answer"))
    if isinstance(found, str):
        found = [{"text": found, "answer_start": row.values.get("answer_start")}]
    elif isinstance(found, dict):
        texts, starts = found.get("text"), found.get("answer_start")
        found = [found]
        if isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts):
            columns = zip(texts, starts, strict=True)
            found = [{"text": text, "answer_start": start} for text, start in columns]
    advice = 'write for example "answers": [{"text": "Paris", "answer_start": 17}]'
    if not isinstance(found, list) or not all(isinstance(answer, dict) for answer in found):
        raise row.error("has no answers", advice)
    answers = []
    for answer in found:
        part = Row(row.file, row.place, row.id, answer)
        start = answer.get("answer_start")
        if isinstance(start, str):  # from a table
            start = int(start) if start.strip().isdecimal() else start.strip() or None
        if not (start is None or type(start) is int):
            problem = f"has the answer_start {str(start)[:24]!r}"
            raise row.error(problem, "write a whole number", "has an answer_start of no number")
        answers.append((part.text("text", advice), start))
    return answers


def _setting(part: str) -> str:
    return f"set data.{part}_field in the recipe"


def _filled(row: Row, name: str, advice: str, part: str) -> str:
    """The text of a field, which must not be blank."""
    text = row.text(name, advice)
    if not text.strip():
        raise PassedOverError(f"empty {part}")
    return text


def _document(row: Row, text: str, fields: dict[str, str] | None = None, key: str = "") -> Document:
    return Document(
        row.id,
        text,
        fields or {},
        key,
        language=_stated(row, "lang", "language"),
        source=_stated(row, "source_name"),
        licence=_stated(row, "licence", "license"),
        url=_stated(row, "url"),
    )


def _stated(row: Row, *names: str) -> str:
    for name in names:
        if name in row.values:
            found = row.values[name]
            return found if isinstance(found, str) else ""
    return ""


RECORDS: dict[str, Callable[[Row, DataSection], Document]] = {
    "text": _text,
    "pair": _pair,
    "chat": _chat,
    "labelled": _labelled,
    "question": _question,
}
"""Kinds of record. Each maker raises `DataError` for a record that lacks a part, naming its place,
and `PassedOverError` for one with an empty part."""
