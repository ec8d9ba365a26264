"""Token shards: the tokens of the text, the same bytes however they were made, damage told."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from llmos.data import shard_writing
from llmos.data.card import KIND, VERSION, card_sha256
from llmos.data.documents import Document, side_of, split_digest, split_documents
from llmos.data.mixture import Group
from llmos.data.packing import pack
from llmos.data.shard_writing import pack_folder
from llmos.data.shards import MANIFEST, TOKENIZER, PackSettings, Shards, holds_shards
from llmos.errors import DataError, StorageError, UsageError
from llmos.storage import exclusive_lock, sha256_file, sha256_hex

END = 256
WORDS = ("harbour", "lantern", "bicycle", "compass", "码头", "灯笼", "mlango", "taa")
SOURCES = ("web/crawl 1", "books")
CARD = {"kind": KIND, "version": VERSION, "languages": ["en"], "synthetic": True}


def byte_tokenizer() -> Tokenizer:
    """Every byte a token; the end of text is one too, unless text spells it."""
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({symbol: i for i, symbol in enumerate(symbols)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


BYTES = byte_tokenizer().to_str().encode()
SETTINGS = PackSettings(
    tokenizer_sha256=sha256_hex(BYTES),
    vocabulary_size=257,
    separator=END,
    seed=3,
    text_field="text",
    part_bytes=0,
    validation=0.2,
    test=0.1,
)


def lines(count: int, seed: int) -> list[dict[str, str]]:
    draw = random.Random(seed)
    return [
        {
            "text": " ".join(draw.choices(WORDS, k=draw.randrange(3, 40))) + f" {seed}.{number}",
            "language": draw.choice(("en", "sw", "zh", "")),
            "source_name": draw.choice(SOURCES),
            "licence": draw.choice(("CC0-1.0", "CC-BY-4.0")),
        }
        for number in range(count)
    ]


def write(folder: Path, files: Sequence[list[dict[str, str]]]) -> Path:
    """A prepared folder."""
    (folder / "documents").mkdir(parents=True)
    for number, records in enumerate(files):
        content = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        path = folder / "documents" / f"{number:05d}.jsonl.gz"
        path.write_bytes(gzip.compress(content.encode(), mtime=0))
    (folder / "card.json").write_text(json.dumps(CARD))
    (folder / "dropped").mkdir()
    (folder / "dropped" / "clean-00000.jsonl.gz").write_bytes(gzip.compress(b'{"text": "no"}\n'))
    return folder


FILES = [lines(40, 1), lines(30, 2), lines(50, 3)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("prepared") / "prepared", FILES)


def packed(source: Path, out: Path, settings: PackSettings = SETTINGS, **options: Any) -> Shards:
    # Each file a chunk of its own.
    return pack_folder(source, out, BYTES, settings, chunk_bytes=1, **options)


@pytest.fixture(scope="module")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards that tests only read."""
    folder = tmp_path_factory.mktemp("shards") / "shards"
    packed(source, folder)
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def text_of(tokens: Sequence[int]) -> list[str]:
    """The documents between separators."""
    tokenizer, texts, held = byte_tokenizer(), [], list[int]()
    for token in tokens:
        if token == END:
            texts.append(tokenizer.decode(held))
            held = []
        else:
            held.append(token)
    assert not held
    return texts


def sides(records: Sequence[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    """By brute force: where each document belongs."""
    found: dict[str, list[dict[str, str]]] = {"train": [], "validation": [], "test": []}
    for record in records:
        digest = split_digest(Document("", record["text"]), SETTINGS.seed)
        found[side_of(digest, validation=0.2, test=0.1)].append(record)
    return found


def test_the_tokens_are_those_of_packing_each_language_and_source(made: Path) -> None:
    groups = Shards.open(made).groups()
    tokenizer = byte_tokenizer()
    expected: dict[Group, list[list[int]]] = {}
    for records in FILES:
        for record in sides(records)["train"]:
            group = Group(record["language"], record["source_name"])
            ids = tokenizer.encode(record["text"], add_special_tokens=False).ids
            expected.setdefault(group, []).append(ids)
    assert list(groups) == sorted(expected) and len(groups) == 8
    for group, documents in expected.items():
        found = groups[group]
        whole = pack(documents, END, 257)
        assert len(found) == len(whole) and found[:].dtype == np.dtype("<u2")
        np.testing.assert_array_equal(found[:], whole)
        # Across the borders of files.
        np.testing.assert_array_equal(found[100:1200], whole[100:1200])


def test_held_out_documents_keep_their_text_and_nothing_is_on_two_sides(made: Path) -> None:
    shards = Shards.open(made)
    wanted = sides([record for records in FILES for record in records])
    for split in ("validation", "test"):
        documents = list(shards.held_out(split))
        assert [d.text for d in documents] == [record["text"] for record in wanted[split]]
        assert [d.language for d in documents] == [record["language"] for record in wanted[split]]
        assert shards.size(split)["units"] == len(documents) > 0
    train = [t for run in shards.groups().values() for t in text_of(run[1:].tolist())]
    assert sorted(train) == sorted(record["text"] for record in wanted["train"])


@given(
    st.lists(st.text(min_size=1, max_size=6), min_size=3, max_size=30, unique=True),
    st.floats(0.0, 0.4),
    st.floats(0.0, 0.4),
    st.integers(0, 2**32 - 1),
)
def test_a_side_is_that_of_the_split_in_memory_unless_that_moved_a_key(
    texts: list[str], validation: float, test: float, seed: int
) -> None:
    documents = [Document(str(number), text) for number, text in enumerate(texts)]
    split = split_documents(documents, validation=validation, test=test, seed=seed)
    alone: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
    for document in documents:
        side = side_of(split_digest(document, seed), validation=validation, test=test)
        alone[side].add(document.text)
    if all(alone.values()):  # otherwise the split in memory takes the next key for an empty part
        assert {name: {d.text for d in getattr(split, name)} for name in alone} == alone


@given(st.permutations(range(20)), st.integers(1, 20))
def test_no_order_and_no_sharding_changes_a_side(order: list[int], cut: int) -> None:
    def side(document: Document) -> str:
        return side_of(split_digest(document, 1), validation=0.3, test=0.3)

    documents = [Document(f"{n % 3}", f"text {n % 12}", language="en") for n in range(20)]
    sides_of: dict[str, set[str]] = {}
    for shard in (order[:cut], order[cut:]):
        for number in shard:
            renamed = replace(documents[number], id=str(cut), source=str(cut))
            sides_of.setdefault(renamed.text, set()).add(side(renamed))
    assert all(len(found) == 1 for found in sides_of.values())


def test_the_bytes_depend_on_text_and_settings_alone(
    source: Path, made: Path, tmp_path: Path
) -> None:
    before = contents(made)
    packed(source, tmp_path / "again")
    assert contents(tmp_path / "again") == before
    moved = shutil.copytree(source, tmp_path / "prepared")
    for path in moved.rglob("*.gz"):
        path.touch()
    packed(moved, tmp_path / "moved")
    assert contents(tmp_path / "moved") == before


@pytest.mark.slow  # processes start for seconds
def test_the_bytes_do_not_depend_on_the_number_of_processes(
    source: Path, made: Path, tmp_path: Path
) -> None:
    packed(source, tmp_path / "shards", workers=3)
    assert contents(tmp_path / "shards") == contents(made)


def test_stopped_at_any_chunk_it_goes_on_to_the_same_bytes(
    source: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, done = shard_writing._pack_chunk, list[int]()

    def stopping(task: Any) -> None:
        if len(done) == 2:
            (tmp_path / "shards/train/.half.tmp").write_bytes(b"x")
            raise KeyboardInterrupt
        done.append(task.chunk.number)
        real(task)

    monkeypatch.setattr(shard_writing, "_pack_chunk", stopping)
    with pytest.raises(KeyboardInterrupt):
        packed(source, tmp_path / "shards")
    assert done == [0, 1] and holds_shards(tmp_path / "shards")
    with pytest.raises(DataError, match=r"holds no finished token shards: .*llmos data pack"):
        Shards.open(tmp_path / "shards")
    monkeypatch.setattr(shard_writing, "_pack_chunk", lambda task: (done.append(9), real(task)))
    told: list[tuple[int, int]] = []
    packed(source, tmp_path / "shards", progress=lambda *numbers: told.append(numbers))
    assert done == [0, 1, 9] and told == [(2, 3), (3, 3)]
    assert contents(tmp_path / "shards") == contents(made)


def copy_of(made: Path, tmp_path: Path) -> tuple[Path, Path]:
    folder = shutil.copytree(made, tmp_path / "shards")
    return folder, sorted((folder / "train").glob("*.tokens"))[3]


def test_a_short_or_missing_shard_is_told_and_made_again(
    source: Path, made: Path, tmp_path: Path
) -> None:
    folder, shard = copy_of(made, tmp_path)
    shard.write_bytes(shard.read_bytes()[:-2])
    with pytest.raises(DataError, match=rf"{shard.name} has \d+ bytes instead of \d+: run the sam"):
        Shards.open(folder)
    shard.unlink()
    with pytest.raises(DataError, match=f"{shard.name} is missing"):
        Shards.open(folder)
    packed(source, folder)
    assert contents(folder) == contents(made)


def test_a_damaged_shard_is_told_and_made_again(source: Path, made: Path, tmp_path: Path) -> None:
    folder, shard = copy_of(made, tmp_path)
    content = bytearray(shard.read_bytes())
    content[4] ^= 1
    shard.write_bytes(content)
    shards = Shards.open(folder)
    with pytest.raises(DataError, match=f"{shard.name} is damaged"):
        shards.verify()
    packed(source, folder)
    Shards.open(folder).verify()
    assert contents(folder) == contents(made)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"version": 1}', b'{"version": 1, "settings": 3}']
)
def test_a_damaged_manifest_is_told(
    source: Path, made: Path, tmp_path: Path, content: bytes
) -> None:
    folder, _ = copy_of(made, tmp_path)
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(DataError, match=r"shards.json is damaged"):
        Shards.open(folder)
    packed(source, folder)
    assert contents(folder) == contents(made)
    (folder / MANIFEST).write_bytes(b'{"version": 2}')
    with pytest.raises(DataError, match="is of version 2"):
        Shards.open(folder)


def test_changed_text_is_packed_again_and_what_is_left_of_the_old_goes(
    source: Path, made: Path, tmp_path: Path
) -> None:
    folder, _ = copy_of(made, tmp_path)
    smaller = write(tmp_path / "smaller", [FILES[0], lines(25, 8)])
    packed(smaller, folder)
    packed(smaller, tmp_path / "fresh")
    assert contents(folder) == contents(tmp_path / "fresh")


def test_shards_of_other_settings_are_not_overwritten(
    source: Path, made: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"holds shards with another seed: choose a new --out"):
        packed(source, made, replace(SETTINGS, seed=4))
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds other files \(thesis.txt\)"):
        packed(source, tmp_path)
    with (
        exclusive_lock(tmp_path / "shards/.lock", "held"),
        pytest.raises(StorageError, match="another process packs into"),
    ):
        packed(source, tmp_path / "shards")


def test_an_empty_part_is_refused(tmp_path: Path) -> None:
    two = write(tmp_path / "two", [lines(2, 1)])
    with pytest.raises(DataError, match=r"none of the 2 documents .* part: add text, or change"):
        packed(two, tmp_path / "shards")
    with pytest.raises(DataError, match=r"data.validation = 0.2 and data.test = 0.0 .* share"):
        packed(two, tmp_path / "shards", replace(SETTINGS, test=0.0))


def test_no_separator_where_an_objective_wants_none(source: Path, tmp_path: Path) -> None:
    shards = packed(source, tmp_path / "shards", replace(SETTINGS, separator=None))
    train = sides([record for records in FILES for record in records])["train"]
    tokens = sum(len(run) for run in shards.groups().values())
    assert tokens == sum(len(record["text"].encode()) for record in train)
    assert END not in {t for run in shards.groups().values() for t in run[:].tolist()}


def test_ids_take_four_bytes_where_the_vocabulary_needs_them(source: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, vocabulary_size=65_537)
    wide = packed(source, tmp_path / "wide", settings)
    plain = packed(source, tmp_path / "plain")
    for group, run in wide.groups().items():
        assert run[:].dtype == np.dtype("<u4")
        np.testing.assert_array_equal(run[:], plain.groups()[group][:])


def test_text_that_spells_the_separator_does_not_end_its_document(tmp_path: Path) -> None:
    records = [{"text": f"one <|endoftext|> document {n}"} for n in range(40)]
    shards = packed(write(tmp_path / "source", [records]), tmp_path / "shards")
    (run,) = shards.groups().values()
    assert all("<|endoftext|>" in text for text in text_of(run[1:].tolist()))


def test_documents_are_cut_as_the_recipe_says_before_they_are_divided(tmp_path: Path) -> None:
    book = "\n\n".join(f"Paragraph {n} of the book, which is long enough." for n in range(400))
    source = write(tmp_path / "source", [[{"text": book}]])
    shards = packed(source, tmp_path / "shards", replace(SETTINGS, part_bytes=100))
    (run,) = shards.groups().values()
    parts = [
        *text_of(run[1:].tolist()),
        *(d.text for s in ("validation", "test") for d in shards.held_out(s)),
    ]
    assert len(parts) > 100
    assert sorted("".join(parts)) == sorted(book)


def test_a_long_text_is_tokenised_in_parts_but_stays_one_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [{"text": f"{n}\n\n" + "lantern harbour\n\n" * 200} for n in range(60)]
    source = write(tmp_path / "source", [records])
    whole = packed(source, tmp_path / "whole")
    monkeypatch.setattr(shard_writing, "BATCH_CHARACTERS", 100)
    monkeypatch.setattr(shard_writing, "HELD_TOKENS", 70)
    packed(source, tmp_path / "parts")
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")  # bytes are tokens here
    assert (tmp_path / "whole" / TOKENIZER).read_bytes() == BYTES
    assert whole.licences == ()


def test_the_manifest_adds_up(made: Path) -> None:
    shards = Shards.open(made)
    train = sides([record for records in FILES for record in records])["train"]
    assert shards.size("train") == {
        "units": len(train),
        "bytes": sum(len(record["text"].encode()) for record in train),
    }
    assert shards.licences == ("CC-BY-4.0", "CC0-1.0") and shards.problems == 0
    assert shards.synthetic and shards.data_card_sha256 == card_sha256(CARD)
    files = {shard.file for shard in shards.shards}
    assert files == {name for name in contents(made) if name.startswith(("train/", "val", "test/"))}
    assert all(shard.size == (made / shard.file).stat().st_size for shard in shards.shards)
