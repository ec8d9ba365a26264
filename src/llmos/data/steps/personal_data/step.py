"""The step that masks personal data, drops the documents that have some, or counts them only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from llmos.data.documents import Document
from llmos.data.steps.personal_data.find import KINDS, MASKS, find, masked
from llmos.data.steps.step import Drop
from llmos.errors import UsageError

ACTIONS = ("mask", "drop", "keep")
_READ = ("source", "target", "text", "context", "question")
"""The fields whose lines are the text of a record, besides messages (see `data.records`)."""


@dataclass(frozen=True)
class PersonalData:
    """E-mail addresses, telephone numbers, bank and card numbers, national numbers, keys and more.

    `kinds` are those of `recipe_preparation.PERSONAL_KINDS` (none named: all). `action` "mask" puts
    "<EMAIL>" and the like in their place, in the text and in all fields of a record; "drop" gives
    `Drop("personal_data")`; "keep" counts. Each one found counts as `personal_<kind>`. When
    masking, a question whose answer is personal data, wholly or in part, is dropped as
    "personal_data_in_answer".
    Raises `UsageError` for an unknown kind or action.
    """

    kinds: tuple[str, ...] = ()
    action: str = "mask"

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                raise UsageError(f"no kind of personal data: {kind!r}; one of {', '.join(KINDS)}")
        if self.action not in ACTIONS:
            raise UsageError(
                f"no action on personal data: {self.action!r}; one of {', '.join(ACTIONS)}"
            )

    def __call__(self, document: Document, counts: Counter[str]) -> Document | Drop:
        """The document, masked; or why it is dropped."""
        news: Counter[str] = Counter()
        if self.action == "mask":
            result = self._masked_document(document, news)
        else:
            parts = _parts(document.fields) or [document.text]
            news.update(f"personal_{one.kind}" for part in parts for one in find(part, self.kinds))
            result = Drop("personal_data") if news and self.action == "drop" else document
        counts.update(news)
        return result

    def _masked_document(self, document: Document, counts: Counter[str]) -> Document | Drop:
        fields: dict[str, str] = {}
        if "start" in document.fields:
            if (found := self._context(document.fields, counts)) is None:
                counts.clear()
                return Drop("personal_data_in_answer")
            fields = found
        for name, text in document.fields.items():
            if name not in fields:
                change = self._messages if name == "messages" else self._masked
                fields[name] = change(text, counts)
        if document.fields and "\n".join(_parts(document.fields)) == document.text:
            text = "\n".join(_parts(fields))
        else:
            text = self._masked(document.text, Counter() if document.fields else counts)
        if not counts:
            return document
        ordered = {name: fields[name] for name in document.fields}
        return replace(
            document, text=text, fields=ordered, key=self._masked(document.key, Counter())
        )

    def _masked(self, text: str, counts: Counter[str]) -> str:
        # Again until nothing is found: a mask may have uncovered a number beside it.
        while found := find(text, self.kinds):
            counts.update(f"personal_{one.kind}" for one in found)
            text = masked(text, found)
        return text

    def _messages(self, text: str, counts: Counter[str]) -> str:
        messages = json.loads(text)
        for message in messages:
            message["content"] = self._masked(message["content"], counts)
        return json.dumps(messages, ensure_ascii=False)

    def _context(self, fields: Mapping[str, str], counts: Counter[str]) -> dict[str, str] | None:
        """Context, answer and start of a question; None if a mask would touch the answer."""
        context, answer, start = fields["context"], fields["answer"], int(fields["start"])
        while found := find(context, self.kinds):
            if any(one.start < start + len(answer) and start < one.end for one in found):
                return None
            counts.update(f"personal_{one.kind}" for one in found)
            start += sum(
                len(MASKS[one.kind]) - (one.end - one.start) for one in found if one.end <= start
            )
            context = masked(context, found)
        return {"context": context, "answer": answer, "start": str(start)}


def _parts(fields: Mapping[str, str]) -> list[str]:
    """What of a record is read or written, in the order of its text."""
    parts = [fields[name] for name in _READ if name in fields]
    return parts + [message["content"] for message in json.loads(fields.get("messages", "[]"))]
