"""Sharing levels of a prepared folder; the open one as the library datasets reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyarrow import parquet

from llmos.data.documents import Document
from llmos.data.parquet_files import write_parquet
from llmos.data.publish import Publication, publish, size_category
from llmos.errors import DataError, UsageError
from llmos.records import JSON

Prepare = Callable[..., JSON]
Contents = Callable[[Path], dict[str, bytes]]
MESSAGES = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "我。"}]


def _documents(start: int, count: int, licence: str = "CC-BY-4.0") -> list[Document]:
    return [
        Document(
            f"secret-name-{n}",
            f"Text number {n}, Nummer {n}, 第{n}号。",
            language=("en", "zh")[n % 2],
            source="pages",
            licence=licence,
            url=f"https://example.org/{n}" if n % 3 else "",
        )
        for n in range(start, start + count)
    ]


@pytest.fixture
def folder(tmp_path: Path, prepare_folder: Prepare) -> Path:
    prepare_folder(tmp_path / "folder", [_documents(0, 7), _documents(7, 5)], name="no: it's")
    return tmp_path / "folder"


def _front_matter(out: Path) -> Any:
    _, head, _ = (out / "README.md").read_text("utf-8").split("---\n", 2)
    return yaml.safe_load(head)


def test_open(folder: Path, tmp_path: Path, contents: Contents) -> None:
    files = publish(folder, tmp_path / "out", Publication(level="open", contact="a@example.org"))
    assert [file.relative_to(tmp_path / "out").as_posix() for file in files] == [
        "README.md",
        "card.json",
        "data/train-00000-of-00001.parquet",
    ]
    assert _front_matter(tmp_path / "out") == {
        "pretty_name": "no: it's",
        "license": "cc-by-4.0",
        "language": ["en", "zh"],
        "size_categories": ["n<1K"],
        "tags": ["llmos", "open"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": "data/train-*.parquet"}],
            }
        ],
    }
    readme = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "CC-BY-4.0: credit the authors" in readme and "a@example.org" in readme
    rows = parquet.read_table(files[2]).to_pylist()
    assert [row["text"] for row in rows] == [d.text for d in _documents(0, 12)]
    assert rows[1] == {
        "id": rows[1]["id"],
        "text": "Text number 1, Nummer 1, 第1号。",
        "language": "zh",
        "source_name": "pages",
        "licence": "CC-BY-4.0",
        "url": "https://example.org/1",
    }
    assert rows[0]["url"] is None and len({row["id"] for row in rows}) == 12
    # The same bytes again; nothing of the member's own names for documents.
    publish(folder, tmp_path / "again", Publication(level="open", contact="a@example.org"))
    assert contents(tmp_path / "again") == contents(tmp_path / "out")
    assert b"secret-name" not in b"".join(contents(tmp_path / "out").values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "folder", "out"]


@pytest.mark.slow
def test_datasets_opens_it(
    folder: Path, tmp_path: Path, prepare_folder: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    publish(folder, tmp_path / "out", Publication(level="open"))
    found = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert list(found) == ["train"]
    assert found["train"]["text"][:] == [d.text for d in _documents(0, 12)]
    chats = [Document("a", "x", fields={"messages": json.dumps(MESSAGES)}, licence="MIT")]
    prepare_folder(tmp_path / "chats", [chats])
    publish(tmp_path / "chats", tmp_path / "out2", Publication(level="open"))
    found = datasets.load_dataset(str(tmp_path / "out2"), cache_dir=str(tmp_path / "cache"))
    assert found["train"][0]["messages"] == MESSAGES


def test_records_keep_their_parts(tmp_path: Path, prepare_folder: Prepare) -> None:
    question = {"context": "In Paris.", "question": "Where?", "answer": "Paris", "start": "3"}
    for name, fields in {
        "chat": {"messages": json.dumps(MESSAGES, ensure_ascii=False)},
        "question": question,
        "pair": {"source": "one", "target": "eins"},
    }.items():
        card = prepare_folder(
            tmp_path / name, [[Document("a", "x", fields=fields, licence="MIT")]], name=name
        )
        (file,) = write_parquet(tmp_path / name, card, tmp_path / f"{name}.out")
        (row,) = parquet.read_table(file).to_pylist()
        kept = {key: value for key, value in row.items() if value is not None}
        del kept["id"], kept["licence"]
        assert (
            kept
            == {
                "chat": {"messages": MESSAGES},
                "question": {
                    "context": "In Paris.",
                    "question": "Where?",
                    "answers": [{"text": "Paris", "answer_start": 3}],
                },
                "pair": {"source": "one", "target": "eins"},
            }[name]
        )


def test_files_have_a_limit(folder: Path, tmp_path: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    files = write_parquet(folder, card, tmp_path / "out", file_bytes=3500, group_bytes=300)
    assert [file.name for file in files] == [
        f"train-{n:05d}-of-{len(files):05d}.parquet" for n in range(len(files))
    ]
    assert len(files) > 1
    texts = [t for file in files for t in parquet.read_table(file)["text"].to_pylist()]
    assert texts == [d.text for d in _documents(0, 12)]


def test_federated_and_metadata_hold_no_text(
    folder: Path, tmp_path: Path, contents: Contents
) -> None:
    publish(folder, tmp_path / "card", Publication(level="federated"))
    publish(folder, tmp_path / "word", Publication(level="metadata", contact="Anna, a@example.org"))
    card, word = contents(tmp_path / "card"), contents(tmp_path / "word")
    assert set(card) == {"README.md", "card.json"} and set(word) == {"README.md"}
    assert card["card.json"] == (folder / "card.json").read_bytes()
    for shared in (*card.values(), *word.values()):
        assert b"Text number" not in shared and b"secret-name" not in shared
    assert _front_matter(tmp_path / "card")["tags"] == ["llmos", "federated"]
    assert "configs" not in _front_matter(tmp_path / "card")
    assert b"Anna, a@example.org" in word["README.md"] and b"sha256" not in word["README.md"]
    with pytest.raises(UsageError, match="--contact"):
        Publication(level="metadata")
    with pytest.raises(UsageError, match="'all' is not one of open, federated, metadata"):
        Publication(level="all")


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        ("", "5 documents state no licence"),
        ("CC-BY-ND-4.0", "5 documents state the licence CC-BY-ND-4.0"),
        ("LicenseRef-unrecognised", "5 documents state the licence LicenseRef"),
    ],
)
def test_what_may_not_be_published_is_not(
    tmp_path: Path, prepare_folder: Prepare, licence: str, said: str
) -> None:
    prepare_folder(tmp_path / "folder", [_documents(0, 7), _documents(7, 5, licence)])
    with pytest.raises(DataError, match=said):
        publish(tmp_path / "folder", tmp_path / "out", Publication(level="open"))
    assert not (tmp_path / "out").exists()
    publish(tmp_path / "folder", tmp_path / "card", Publication(level="federated"))
    how = Publication(level="open", may_redistribute=True)
    publish(tmp_path / "folder", tmp_path / "out", how)
    expected = "unknown" if not licence else "cc-by-nd-4.0" if "CC" in licence else "other"
    assert _front_matter(tmp_path / "out")["license"] == ["cc-by-4.0", expected]


def test_protected_and_opted_out_text_stays(folder: Path, tmp_path: Path) -> None:
    patterns, domains = tmp_path / "patterns.txt", tmp_path / "domains.txt"
    patterns.write_text("Nummer 3\n")
    domains.write_text("example.org\n")
    with pytest.raises(DataError, match="1 documents are protected"):
        publish(folder, tmp_path / "out", Publication(level="open", protected=patterns))
    with pytest.raises(DataError, match=r"8 documents opted out: .* llmos data optout"):
        publish(folder, tmp_path / "out", Publication(level="open", optouts=[domains]))
    assert not (tmp_path / "out").exists()


def test_other_obstacles(folder: Path, tmp_path: Path, prepare_folder: Prepare) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    with pytest.raises(UsageError, match="is there already"):
        publish(folder, tmp_path / "out", Publication(level="open"))
    first = (folder / "documents" / "00000.jsonl.gz").read_bytes()
    (folder / "documents" / "00001.jsonl.gz").write_bytes(first)
    with pytest.raises(DataError, match="not what card"):
        publish(folder, tmp_path / "new", Publication(level="open"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "out"]
    prepare_folder(tmp_path / "empty", [[]])
    with pytest.raises(DataError, match="no document left"):
        publish(tmp_path / "empty", tmp_path / "new", Publication(level="open"))


@pytest.mark.parametrize(
    ("documents", "name"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M"), (10**13, "n>1T")],
)
def test_size_categories(documents: int, name: str) -> None:
    assert size_category(documents) == name
