"""The step that drops documents from pages that opted out."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import pytest

from llmos.data.documents import Document
from llmos.data.steps.optout import OptOut
from llmos.data.steps.step import Drop
from llmos.errors import DataError


def test_documents_go_by_their_address(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("example.org\n")
    made = OptOut((str(path),))
    assert len(pickle.dumps(made)) < 300  # the settings, not the lists
    step = pickle.loads(pickle.dumps(made))
    counts: Counter[str] = Counter()
    assert step(Document("a", "text", url="https://www.example.org/x"), counts) == Drop("opted_out")
    other = Document("b", "text", url="https://other.example/")
    assert step(other, counts) is other
    without = Document("c", "about https://example.org")
    assert step(without, counts) is without
    assert counts == {"optout_without_url": 1}


def test_a_wrong_list_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("co.uk\n")
    with pytest.raises(DataError, match="public suffix"):
        OptOut((str(tmp_path / "list.txt"),))
