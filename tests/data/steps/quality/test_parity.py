"""The same decisions as datatrove's own filters, where they and spaCy are installed."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from llmos.data.documents import Document
from llmos.data.steps.quality.quality import RULES, Quality
from llmos.data.steps.step import Drop

pytestmark = pytest.mark.slow  # spaCy takes seconds to load


@pytest.fixture(scope="module")
def stock() -> dict[str, Any]:
    pytest.importorskip("spacy")
    filters = pytest.importorskip("datatrove.pipeline.filters")
    return {
        "gopher_repetition": filters.GopherRepetitionFilter(),
        "gopher": filters.GopherQualityFilter(),
        "c4": filters.C4QualityFilter(filter_no_terminal_punct=False),
        "fineweb": filters.FineWebQualityFilter(),
    }


def _texts(prose: str) -> list[str]:
    """The text made worse in many ways."""
    rng = random.Random(7)
    words, lines = prose.split(" "), prose.split("\n")
    found = [prose]
    for _ in range(60):
        share = rng.random()
        found += [
            " ".join(words[: int(share * len(words))]),
            " ".join(w + "\n" * (rng.random() < share) for w in words),
            " ".join("137" if rng.random() < share / 2 else w for w in words),
            " ".join(w[:2] if rng.random() < share else w for w in words),
            " ".join(w + " #" * (rng.random() < share / 4) for w in words),
            " ".join(w for w in words if len(w) > 3 or rng.random() < share / 2),
            " ".join(words + words[: int(share * 30)]),
            "\n".join(lines + rng.choices(lines, k=int(share * 8))),
            "\n".join("- " * (rng.random() < share) + line for line in lines),
            "\n".join(line + "..." * (rng.random() < share) for line in lines),
            "\n".join(
                [*lines, rng.choice(["{x}", "Some lorem ipsum here.", "Use JavaScript now."])]
            ),
        ]
    return [text for text in found if text.strip()]


@pytest.mark.parametrize("rule", [*RULES])
def test_decisions_and_texts_are_datatrove_s(
    rule: str, stock: dict[str, Any], prose: dict[str, str]
) -> None:
    from datatrove.data import Document as Theirs

    texts = _texts(prose["en"])
    reasons: Counter[str] = Counter()
    same = 0
    for text in texts:
        outcome = Quality((rule,))(Document(id="a", text=text, language="en"), Counter())
        theirs = Theirs(text=text, id="a")
        kept = stock[rule].filter(theirs) is True
        same += kept is not isinstance(outcome, Drop)
        reasons[outcome.reason if isinstance(outcome, Drop) else ""] += 1
        if kept and not isinstance(outcome, Drop):
            assert outcome.text == theirs.text
    assert same >= 0.99 * len(texts)
    assert len(reasons) > 2 and reasons[""] > 50  # the texts are not all of one kind
