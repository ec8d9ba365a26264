"""Places by intervals, marks, what is refused; the page."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from llmos.errors import UsageError
from llmos.evaluation.leaderboard import (
    CONTAMINATED,
    LIMITED,
    SERVICE,
    UNKNOWN_SIGNER,
    leaderboard,
    places,
)
from llmos.evaluation.leaderboard_page import page
from llmos.metrics.score import Mean, Score, mean_rows, score_rows
from llmos.provenance.results import read_result, write_result
from llmos.provenance.signing import SigningKey, generate_key


def figure(value: float, half: float, metric: str = "accuracy") -> Score:
    return Score(metric, value, value - half, value + half, 100, "", "Wilson 0.95", (1.0, 2.0))


def body(name: str, score: Score, sha256: str | None = None, **more: Any) -> dict[str, Any]:
    part = {
        "name": "say", "task": "completion", "dataset": "sums", "spec": {}, "data_sha256": "d",
        "n": 100, "how": "prompt", "rows_sha256": "",
        "scores": [{**score.to_json(), "key": "accuracy", "higher_is_better": True}],
    }  # fmt: skip
    return {
        "version": 1, "suite": {"name": "sums", "version": 1, "sha256": "s"},
        "model": {"name": name, "kind": "folder", "links": {},
                  "sha256": name if sha256 is None else sha256},
        "code": {}, "seed": 0, "hardware": {}, "settings": {}, "of": [], "benchmarks": [part],
        **more,
    }  # fmt: skip


@pytest.fixture
def board(tmp_path: Path, key: SigningKey) -> list[Path]:
    paths = []
    for name, value, half in (("c", 0.5, 0.05), ("a", 0.8, 0.05), ("b", 0.74, 0.05)):
        paths.append(tmp_path / f"{name}.json")
        write_result(paths[-1], body(name, figure(value, half)), key)
    return paths


def test_models_whose_intervals_overlap_share_a_place(board: list[Path], key: Any) -> None:
    (table,) = leaderboard(board, {key.public: "Anna"}).tables
    assert [(e.place, e.model) for e in table.entries] == [(1, "a"), (1, "b"), (3, "c")]
    assert {e.signer for e in table.entries} == {"Anna"}
    assert all(not e.marks for e in table.entries)


def test_places() -> None:
    a, b, c = figure(0.9, 0.05), figure(0.82, 0.05), figure(0.75, 0.05)
    assert places([a, b, c], True) == [1, 1, 2]
    assert places([a, b, c], False) == [2, 1, 1]
    unknown = Score("x", 0.1, float("-inf"), float("inf"), 1, "", "none")
    assert places([a, unknown], True) == [1, 1]
    draw = random.Random(4)
    many = [figure(draw.randrange(20) / 20, draw.randrange(1, 5) / 20) for _ in range(60)]
    better = [sum(other.low > one.high for other in many) for one in many]
    worse = [sum(other.high < one.low for other in many) for one in many]
    assert places(many, True) == [1 + above for above in better]
    assert places(many, False) == [1 + below for below in worse]


def test_a_tampered_result_is_refused_by_name(board: list[Path]) -> None:
    record = json.loads(board[0].read_text())
    record["benchmarks"][0]["scores"][0]["value"] = 0.99
    board[0].write_text(json.dumps(record))
    found = leaderboard(board)
    assert list(found.refused) == [str(board[0])]
    assert "does not verify" in found.refused[str(board[0])]
    assert [e.model for e in found.tables[0].entries] == ["a", "b"]
    assert str(board[0]) in page(found)


def test_what_is_to_be_read_with_care_is_marked(tmp_path: Path, key: SigningKey) -> None:
    more = {
        "settings": {"limit": 10},
        "contamination": {"benchmarks": {"say": {"items": 100, "found": 3}}},
    }
    path = tmp_path / "r.json"
    write_result(path, body("service", figure(0.5, 0.1), "", **more), key)
    (entry,) = leaderboard([path]).tables[0].entries
    assert entry.marks == (UNKNOWN_SIGNER, SERVICE, LIMITED, f"{CONTAMINATED}: 3")


def test_the_last_result_of_a_model_counts(tmp_path: Path, key: SigningKey) -> None:
    for number, value in enumerate((0.5, 0.6)):
        write_result(tmp_path / f"{number}.json", body("a", figure(value, 0.1)), key)
    other = generate_key(tmp_path / "other.pem")
    write_result(tmp_path / "2.json", body("a", figure(0.7, 0.1)), other)
    paths = [tmp_path / f"{number}.json" for number in range(3)]
    (table,) = leaderboard(paths).tables
    assert sorted(e.score.value for e in table.entries) == [0.6, 0.7]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is no signed result"),
        ('{"a": 1}', "is no signed result"),
    ],
)
def test_what_is_no_result(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(UsageError, match=message):
        read_result(tmp_path / "r.json")
    with pytest.raises(UsageError, match="cannot be read"):
        read_result(tmp_path / "none.json")


def test_other_versions_and_parts_that_lack(tmp_path: Path, key: SigningKey) -> None:
    with pytest.raises(UsageError, match="version 2, this llmos reads version 1"):
        write_result(tmp_path / "r.json", {**body("a", figure(0.5, 0.1)), "version": 2}, key)
    lacking = body("a", figure(0.5, 0.1))
    del lacking["benchmarks"][0]["how"]
    with pytest.raises(UsageError, match="without 'how'"):
        write_result(tmp_path / "r.json", lacking, key)


class Checked(HTMLParser):
    """Tags that close, ids, links, and what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "line", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_self_contained_and_accessible(tmp_path: Path, key: SigningKey) -> None:
    evil = body('<script>alert("x")</script>', figure(0.5, 0.1))
    evil["model"]["links"] = {"paper": "https://arxiv.org/abs/2401.00001", "code": "javascript:x"}
    write_result(tmp_path / "r.json", evil, key)
    html = page(leaderboard([tmp_path / "r.json"]), "Ours & theirs")
    parser = Checked()
    parser.feed(html)
    assert not parser.open
    tags = [tag for tag, _ in parser.tags]
    assert not {"script", "link", "img", "iframe"} & set(tags)
    assert "javascript:" not in html
    assert [a["href"] for tag, a in parser.tags if tag == "a"] == [
        "https://arxiv.org/abs/2401.00001"
    ]
    assert {"caption", "main", "h1"} <= set(tags)
    heads = [attributes for tag, attributes in parser.tags if tag == "th"]
    assert {one["scope"] for one in heads} == {"col", "row"}
    assert ("html", {"lang": "en"}) in parser.tags
    assert "width=device-width" in html and "@media (max-width" in html
    assert "Ours &amp; theirs" in html


def test_json_says_all_of_it(board: list[Path]) -> None:
    found = leaderboard(board).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["tables"][0]["entries"][0]["score"]["value"] == 0.8


def test_it_needs_no_torch(board: list[Path]) -> None:
    code = (
        "import sys; from llmos.evaluation import leaderboard, leaderboard_page, adding, comparing;"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_models_that_got_nothing_right_share_a_place_with_one_that_got_little() -> None:
    """Without spread the bootstrap alone would put 0 of 20 below 1 of 20, and be sure of it."""
    quantity = Mean("x", bounds=(0.0, 1.0))
    nothing, little, most = (
        score_rows(quantity, mean_rows([1.0] * n + [0.0] * (20 - n))) for n in (0, 1, 18)
    )
    assert places([nothing, little, most], higher_is_better=True) == [2, 2, 1]
    assert nothing.high > little.value
