"""Reading a source in one call, as the stages of a preparation do in several."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from llmos.data.documents import Document
from llmos.data.reading.chunks import LIMIT, Plan, Problem, plan, read_part
from llmos.recipe import DataSection

Read = Callable[..., tuple[list[Document], list[Problem]]]
Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of the source `tmp_path`/"in", compressed as its name says."""

    def written(name: str, content: str | bytes) -> Path:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        if name.endswith(".gz"):
            data = gzip.compress(data)
        elif name.endswith(".zst"):
            data = zstandard.compress(data)
        path.write_bytes(data)
        return path

    return written


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """All documents and problems of sources, by default of `tmp_path`/"in"."""

    def found(
        *sources: Any, record: str = "text", limit: int = LIMIT, **names: str
    ) -> tuple[list[Document], list[Problem]]:
        made = plan([str(source) for source in sources or (tmp_path / "in",)], limit=limit)
        assert Plan.from_json(made.to_json()) == made
        documents: list[Document] = []
        problems = list(made.problems)
        for chunk in made.chunks:
            for part in chunk.parts:
                for item in read_part(part, DataSection(**names), record):
                    (problems if isinstance(item, Problem) else documents).append(item)  # type: ignore[arg-type]
        ids = [document.id for document in documents]
        assert len(set(ids)) == len(ids)
        return documents, problems

    return found
