"""Which documents and lines go: against a plain model, over any chunks and with little memory."""

from __future__ import annotations

import os
import random
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.data.dedup import duplicates
from llmos.data.dedup.duplicates import DuplicateCounts, Removals, find_duplicates
from llmos.data.dedup.fingerprints import FingerprintWriter
from llmos.data.dedup.lines import LEAST
from llmos.data.dedup.minhash import bands
from llmos.data.documents import Document
from llmos.data.steps.step import Drop
from llmos.errors import StorageError

WORDS = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("an", "el", "im", "or", "us")]
LINES = ("The menu of this site", "© All rights reserved", "Another line", "short")


@pytest.fixture(scope="module", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """Nothing here loses power; a thousand small files are written."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda descriptor: None)
        yield


def write(folder: Path, chunks: Sequence[Sequence[Document]], *, near: bool, lines: bool) -> None:
    for chunk, documents in enumerate(chunks):
        writer = FingerprintWriter(folder, chunk, near=near, lines=lines)
        for document in documents:
            writer.add(document)
        writer.close()


def outcome(
    chunks: Sequence[Sequence[Document]],
    *,
    near: bool = True,
    line_documents: int = 0,
    memory: int = 512 << 20,
) -> tuple[DuplicateCounts, list[Document | Drop]]:
    """All stages, in a folder of their own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "prints", chunks, near=near, lines=line_documents > 0)
        counts = find_duplicates(
            folder / "prints",
            len(chunks),
            folder / "out",
            near=near,
            line_documents=line_documents,
            memory=memory,
        )
        results: list[Document | Drop] = []
        for chunk, documents in enumerate(chunks):
            removals = Removals(folder / "out", chunk)
            results += [removals.of(n, document) for n, document in enumerate(documents)]
        return counts, results


def model(documents: Sequence[Document], near: bool, line_documents: int) -> list[Document | Drop]:
    """The same with dictionaries, one document after the other."""
    results: list[Document | Drop] = list(documents)
    seen: set[str] = set()
    for number, document in enumerate(documents):
        if document.content in seen:
            results[number] = Drop("duplicate_exact")
        seen.add(document.content)
    if near:
        left = [
            n for n, d in enumerate(documents) if isinstance(results[n], Document) and not d.fields
        ]
        which, found = bands([documents[n].text for n in left])
        cluster = {n: n for n in left}
        first: dict[int, int] = {}
        for row, place in enumerate(which.tolist()):
            for band in found[row].tolist():
                one, other = cluster[left[place]], cluster[first.setdefault(band, left[place])]
                for member in cluster:
                    if cluster[member] in (one, other):
                        cluster[member] = min(one, other)
        for number, least in cluster.items():
            if number != least:
                results[number] = Drop("duplicate_near")
    if line_documents:
        where: dict[str, list[int]] = defaultdict(list)
        for number, result in enumerate(results):
            if isinstance(result, Document) and not result.fields:
                for line in {line.strip() for line in result.text.split("\n")}:
                    where[line].append(number)
        for number, result in enumerate(results):
            if isinstance(result, Document) and not result.fields:
                kept = [
                    line
                    for line in result.text.split("\n")
                    if len(line.strip()) < LEAST
                    or len(where[line.strip()]) < line_documents
                    or where[line.strip()][0] == number
                ]
                changed = len(kept) < len(result.text.split("\n"))
                text = "\n".join(kept)
                if changed:
                    results[number] = (
                        Document(result.id, text) if text.strip() else Drop("duplicate_lines")
                    )
    return results


@st.composite
def corpora(draw: st.DrawFn) -> list[Document]:
    """Few originals, copies of them with words changed, lines in common, records."""
    source = random.Random(draw(st.integers(0, 10**6)))
    originals = [" ".join(source.choices(WORDS, k=source.choice((1, 4, 5, 30)))) for _ in range(4)]
    documents = []
    for number in range(draw(st.integers(0, 25))):
        words = source.choice(originals).split()
        for _ in range(source.choice((0, 0, 1, 2, 8))):
            words[source.randrange(len(words))] = source.choice(WORDS)
        text = " ".join(words)
        kind = source.randrange(4)
        if kind == 0:
            fields = {"source": text, "target": source.choice(originals)}
            documents.append(Document(f"d{number}", text, fields))
            continue
        if kind == 1:
            text = "\n".join([*source.choices(LINES, k=2), text])
        if kind == 2 and source.random() < 0.5:
            text = source.choice(["", source.choice(LINES), "\n"])
        documents.append(Document(f"d{number}", text))
    return documents


def divided(documents: Sequence[Document], cuts: Sequence[int]) -> list[Sequence[Document]]:
    """In chunks, of which some may be empty."""
    places = [0, *sorted(cut % (len(documents) + 1) for cut in cuts), len(documents)]
    return [documents[a:b] for a, b in pairwise(places)]


@settings(max_examples=40, deadline=None)
@given(
    corpora(),
    st.lists(st.integers(0, 30), max_size=4),
    st.booleans(),
    st.sampled_from([0, 1, 2, 3]),
    st.sampled_from([1, 3000, 1 << 20]),
)
def test_what_goes_is_what_the_model_says_whatever_the_chunks_and_the_memory(
    documents: list[Document], cuts: list[int], near: bool, line_documents: int, memory: int
) -> None:
    chunks = divided(documents, cuts)
    counts, results = outcome(chunks, near=near, line_documents=line_documents, memory=memory)
    assert results == model(documents, near, line_documents)
    assert counts.documents == len(documents)
    reasons = [result.reason for result in results if isinstance(result, Drop)]
    assert counts.exact == reasons.count("duplicate_exact")
    assert counts.near == reasons.count("duplicate_near")
    changed = [
        isinstance(result, Document) and result != document
        for result, document in zip(results, documents, strict=True)
    ]
    assert counts.line_documents == sum(changed) + reasons.count("duplicate_lines")
    assert counts.lines >= counts.line_documents


def reasons_of(texts: Sequence[str]) -> list[str]:
    """Why each goes, "" where it stays; in three chunks."""
    documents = [Document(str(n), text) for n, text in enumerate(texts)]
    _, results = outcome(divided(documents, [len(texts) // 3, len(texts) // 2]))
    return [result.reason if isinstance(result, Drop) else "" for result in results]


def test_the_first_of_equal_and_of_near_documents_stays() -> None:
    text = " ".join(random.Random(1).choices(WORDS, k=100))
    near = text.replace(" ", ", ", 3) + " End."
    other = " ".join(random.Random(2).choices(WORDS, k=100))
    assert reasons_of([other, text, text, near, near, other]) == [
        "", "", "duplicate_exact", "duplicate_near", "duplicate_exact", "duplicate_exact",
    ]  # fmt: skip


def test_documents_without_enough_words_are_compared_exactly_only() -> None:
    assert reasons_of(["", "Yes.", "yes", "Yes.", "", "🌱", "🌱🌱"]) == [
        "", "", "", "duplicate_exact", "duplicate_exact", "", "",
    ]  # fmt: skip


def test_records_are_the_same_by_their_fields_alone_and_never_near() -> None:
    context = " ".join(random.Random(3).choices(WORDS, k=200))
    records = [
        Document(f"r{n}", f"{context} {question}", {"context": context, "question": question})
        for n, question in enumerate(("who?", "what?", "who?"))
    ]
    text = Document("t", records[0].text)
    _, results = outcome([[*records, text]], line_documents=2)
    assert results == [records[0], records[1], Drop("duplicate_exact"), text]


def test_near_duplicates_on_a_small_set_by_true_similarity() -> None:
    """Copies of similarity above 0.95 go (expected: all but 1 in 10^6), below 0.2 none."""
    draw = random.Random(8)
    texts, expected = [], []
    for _ in range(60):
        words = draw.choices(WORDS, k=300)
        close, far = list(words), list(words)
        close[draw.randrange(300)] = "zzz"
        for place in range(0, 300, 4):
            far[place] = draw.choice(WORDS)
        texts += [" ".join(words), " ".join(close), " ".join(far)]
        expected += ["", "duplicate_near", ""]
    assert reasons_of(texts) == expected


def test_chinese_copies_are_found() -> None:
    draw = random.Random(9)
    characters = [chr(code) for code in range(0x4E00, 0x5000)]
    text = "".join(draw.choices(characters, k=300))
    other = "".join(draw.choices(characters, k=300))
    assert reasons_of([text, other, "新" + text[1:] + "。"]) == ["", "", "duplicate_near"]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_killed_anywhere_and_called_again_it_leaves_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(10)
    texts = [" ".join(draw.choices(WORDS, k=30)) + "\n" + draw.choice(LINES) for _ in range(20)]
    chunks = [[Document("", draw.choice(texts)) for _ in range(10)] for _ in range(3)]
    prints = tmp_path / "prints"
    write(prints, chunks, near=True, lines=True)

    def find(out: Path) -> DuplicateCounts:
        return find_duplicates(prints, 3, out, near=True, line_documents=3, memory=3000)

    whole = find(tmp_path / "whole")
    expected = files(tmp_path / "whole")
    assert len(expected) == 6
    real, calls = duplicates.write_atomic, 0
    add = duplicates.Partition.add

    def killed(*arguments: object, **options: object) -> None:
        nonlocal calls
        calls -= 1
        if not calls:
            raise KeyboardInterrupt
        real(*arguments, **options)  # type: ignore[arg-type]

    def killed_add(*arguments: object) -> None:
        nonlocal calls
        calls -= 1
        if not calls:
            raise KeyboardInterrupt
        add(*arguments)  # type: ignore[arg-type]

    for at in (1, 4, 20, 60):
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            calls = at
            patched.setattr(duplicates, "write_atomic", killed)
            patched.setattr(duplicates.Partition, "add", killed_add)
            find(tmp_path / "out")
        assert find(tmp_path / "out") == whole
        assert files(tmp_path / "out") == expected
    assert find(tmp_path / "out") == whole


def test_fingerprints_hold_nothing_but_the_content(tmp_path: Path) -> None:
    """The same bytes whatever the names of documents, their order of hashing and the time."""
    texts = [*LINES, "a b c d e f", "\n".join(LINES)]
    for folder in ("one", "two"):
        documents = [Document(f"{folder}{n}", text) for n, text in enumerate(texts)]
        write(tmp_path / folder, [documents], near=True, lines=True)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert sorted(files(tmp_path / "one")) == ["00000.exact", "00000.lines", "00000.near"]


def test_no_chunks_and_empty_chunks(tmp_path: Path) -> None:
    nothing = DuplicateCounts(0, 0, 0, 0, 0)
    assert find_duplicates(tmp_path, 0, tmp_path / "a", near=True, line_documents=2) == nothing
    assert outcome([[], []], line_documents=2) == (nothing, [])


def test_missing_and_cut_files_are_told(tmp_path: Path) -> None:
    prints, out = tmp_path / "prints", tmp_path / "out"
    write(prints, [[Document("a", "one")], [Document("b", "two")]], near=True, lines=False)
    (prints / "00001.exact").rename(prints / "gone")
    with pytest.raises(StorageError, match=r"00001\.exact.*clean this chunk again"):
        find_duplicates(prints, 2, out, near=True, line_documents=0)
    (prints / "00001.exact").write_bytes(b"123")
    with pytest.raises(StorageError, match="ends within a record"):
        find_duplicates(prints, 2, out, near=True, line_documents=0)
    with pytest.raises(StorageError, match="look for duplicates again"):
        Removals(out, 1)
    find_duplicates(prints, 1, out, near=True, line_documents=0)
    with pytest.raises(StorageError, match="of 1 documents, not of number 1"):
        Removals(out, 0).of(1, Document("b", "two"))
