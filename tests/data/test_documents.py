"""Documents: cutting loses nothing, and no text ever falls on both sides of the split."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.data.documents import Document, Split, cut, split_documents
from llmos.errors import DataError

# Text rich in the places where documents are cut.
cuttable = st.text(st.sampled_from("ab好é🌱 \n\r\t.。!"), max_size=300) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=300
)
texts = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=3, max_size=40
).filter(lambda texts: len(set(texts)) >= 3)


def documents(texts: list[str]) -> list[Document]:
    return [Document(f"d{number}", text) for number, text in enumerate(texts)]


def sides(split: Split) -> dict[str, str]:
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    return {document.text: side for side, part in parts.items() for document in part}


@given(cuttable, st.integers(0, 60))
def test_parts_joined_give_the_document(text: str, part_bytes: int) -> None:
    parts = cut(Document("d", text), part_bytes)
    assert "".join(part.text for part in parts) == text
    assert len({part.id for part in parts}) == len(parts)
    assert all(part.text for part in parts) or parts == [Document("d", "")]


@given(cuttable, st.integers(4, 60))
def test_parts_have_about_part_bytes(text: str, part_bytes: int) -> None:
    sizes = [len(part.text.encode()) for part in cut(Document("d", text), part_bytes)]
    assert all(part_bytes <= size <= 3 * part_bytes for size in sizes[:-1])
    assert sizes[-1] <= 3 * part_bytes


def test_a_short_document_and_part_bytes_0_leave_it_whole() -> None:
    document = Document("d", "one\n\ntwo\n\nthree")
    assert cut(document, 0) == [document]
    assert cut(document, 15) == [document]
    assert [part.text for part in cut(document, 10)] == ["one\n\ntwo\n\n", "three"]


def test_documents_are_cut_behind_paragraph_ends() -> None:
    text = "".join(f"Paragraph {n}: some words.\r\n \r\n" for n in range(50))
    parts = cut(Document("novel.txt", text), 200)
    assert all(part.text.endswith("\r\n \r\n") for part in parts)
    assert [part.id for part in parts[:2]] == ["novel.txt#0", "novel.txt#1"]


@pytest.mark.parametrize(
    "end", ["\n", "。", "! "], ids=["one newline a paragraph", "no newline", "one long line"]
)
def test_text_without_paragraphs_is_cut_at_the_next_finer_end(end: str) -> None:
    parts = cut(Document("d", f"那是最好的时代{end}" * 1000), 500)
    assert len(parts) > 20
    assert all(part.text.endswith(end) for part in parts)


@given(texts, st.data(), st.integers(0, 5))
def test_the_split_depends_on_neither_order_nor_names(
    contents: list[str], data: st.DataObject, seed: int
) -> None:
    shuffled = data.draw(st.permutations(contents))
    a = split_documents(documents(contents), validation=0.1, test=0.1, seed=seed)
    b = split_documents(
        [Document(f"x{text}", text) for text in shuffled], validation=0.1, test=0.1, seed=seed
    )
    assert sides(a) == sides(b)
    # In order, too: training batches follow from it.
    assert [d.text for d in a.train] == [d.text for d in b.train]
    # Every text is on exactly one side, and all repeats are counted.
    everything = [*a.train, *a.validation, *a.test]
    assert sorted(d.text for d in everything) == sorted(set(contents))
    assert a.repeats == len(contents) - len(set(contents))


CORPUS = [f"text number {n}" for n in range(1000)]


@given(st.integers(1, 5), st.integers(0, 3))
def test_one_text_is_on_one_side_however_documents_are_shared_out(members: int, seed: int) -> None:
    whole = sides(split_documents(documents(CORPUS), validation=0.1, test=0.1, seed=seed))
    for number in range(members):
        own = sides(
            split_documents(documents(CORPUS[number::members]), validation=0.1, test=0.1, seed=seed)
        )
        assert own == {text: whole[text] for text in own}


def test_the_shares_are_those_asked_for() -> None:
    split = split_documents(documents(CORPUS), validation=0.1, test=0.2, seed=7)
    # Binomial standard deviations of 1,000 draws are 9.5 and 12.6: four of them.
    assert abs(len(split.validation) - 100) < 38
    assert abs(len(split.test) - 200) < 51
    assert len(split.train) + len(split.validation) + len(split.test) == 1000


def test_the_split_is_the_documented_hash() -> None:
    def place(text: str) -> float:
        digest = hashlib.sha256(b"llmos-split/3/" + text.encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    split = split_documents(documents(CORPUS), validation=0.1, test=0.1, seed=3)
    assert all(place(d.text) < 0.1 for d in split.test)
    assert all(0.1 <= place(d.text) < 0.2 for d in split.validation)
    assert all(place(d.text) >= 0.2 for d in split.train)


def test_another_seed_gives_another_split() -> None:
    splits = [
        sides(split_documents(documents(CORPUS), validation=0.1, test=0.1, seed=seed))
        for seed in range(3)
    ]
    for a, b in pairwise(splits):
        moved = sum(a[text] != b[text] for text in CORPUS)
        # 1 - (0.8^2 + 0.1^2 + 0.1^2) = 34 % of the texts move.
        assert 250 < moved < 430


@given(st.integers(3, 8), st.floats(0, 0.45), st.floats(0, 0.45), st.integers(0, 1000))
def test_few_documents_still_give_all_three_parts(
    count: int, validation: float, test: float, seed: int
) -> None:
    split = split_documents(documents(CORPUS[:count]), validation=validation, test=test, seed=seed)
    assert split.train and split.validation and split.test
    assert len(sides(split)) == count


def test_repeats_are_dropped_whatever_their_names() -> None:
    split = split_documents(
        documents(["a", "b", "c", "a", "a", "b"]), validation=0.1, test=0.1, seed=0
    )
    assert split.repeats == 3
    assert len(sides(split)) == 3


@pytest.mark.parametrize("contents", [[], ["a"], ["a", "b", "a", "b"]])
def test_fewer_than_three_different_documents_are_refused(contents: list[str]) -> None:
    with pytest.raises(DataError, match=rf"only {len(set(contents))} different .*part_bytes"):
        split_documents(documents(contents), validation=0.1, test=0.1, seed=0)


# Records -----------------------------------------------------------------------------------------


def pair(source: str, target: str, number: int = 0) -> Document:
    fields = {"source": source, "target": target}
    return Document(f"r{number}", f"{source}\n{target}", fields, source)


PAIRS = [
    pair(f"source {n // 3}", f"target {n % 3} of {n // 3}", n) for n in range(600)
]  # three targets for each of 200 sources


def halves(documents: list[Document], seed: int = 0) -> Split:
    return split_documents(documents, validation=0.2, test=0.2, seed=seed)


@given(st.integers(0, 20))
def test_records_of_one_key_fall_on_one_side(seed: int) -> None:
    split = halves(PAIRS, seed)
    found = [{d.key for d in part} for part in (split.train, split.validation, split.test)]
    assert sum(len(keys) for keys in found) == len(set.union(*found)) == 200
    # All of them are there: the same source with another target is another record.
    everything = [*split.train, *split.validation, *split.test]
    assert split.repeats == 0
    assert sorted(d.content for d in everything) == sorted(d.content for d in PAIRS)
    # The shares are shares of the keys: binomial standard deviation 5.7, four of them.
    assert abs(len(found[1]) - 40) < 23 and abs(len(found[2]) - 40) < 23


def test_the_key_decides_as_the_text_does() -> None:
    # A text and records about it (its label, questions on it) never face one another.
    texts = [Document("t", text) for text in CORPUS[:300]]
    records = [Document("r", f"{t}\n?", {"text": t, "label": "yes"}, t) for t in CORPUS[:300]]
    plain, keyed = halves(texts), halves(records)
    for part in ("train", "validation", "test"):
        assert [d.text for d in getattr(plain, part)] == [d.key for d in getattr(keyed, part)]


@given(st.permutations(range(12)), st.integers(0, 5))
def test_the_order_of_records_changes_nothing(order: list[int], seed: int) -> None:
    some = PAIRS[:12]
    a, b = halves(some, seed), halves([some[n] for n in order], seed)
    assert a == b


def test_exact_repeats_of_records_are_dropped() -> None:
    repeated = [*PAIRS[:9], *PAIRS[:4], pair("source 0", "target 0 of 0", 99)]
    split = halves(repeated)
    assert split.repeats == 5
    everything = [*split.train, *split.validation, *split.test]
    assert len(everything) == 9
    assert {d.content for d in everything} == {d.content for d in PAIRS[:9]}


def test_what_makes_records_the_same_is_all_their_fields() -> None:
    fields = {"text": "a", "label": "b"}
    first = Document("1", "a b", fields, "a")
    assert first.content == Document("2", "other", dict(reversed(fields.items()))).content
    assert first.content != Document("1", "a b", {**fields, "label": "c"}, "a").content
    assert first.content != Document("1", "a b", {"text": "b", "label": "a"}, "a").content
    assert first.content != Document("1", "a b", {**fields, "start": ""}, "a").content
    assert Document("1", "a b").content == "a b"
    # A text is not a record that happens to be written alike.
    assert halves([first, Document("2", "a b", {}, "a"), *PAIRS[:9]]).repeats == 0


def test_records_of_fewer_than_three_keys_are_refused() -> None:
    with pytest.raises(DataError, match=r"only 2 different"):
        halves(PAIRS[:6])
