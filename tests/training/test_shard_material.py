"""Training from token shards: the batches of the same text in memory, and nothing that misfits."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmos.data.card import KIND, VERSION
from llmos.data.documents import Document, side_of, split_digest
from llmos.data.shard_writing import pack_folder
from llmos.data.shards import MANIFEST
from llmos.errors import DataError, RecipeError, UsageError
from llmos.models.pieces import count_pieces
from llmos.models.tokenizer import tokenizer_from_bytes, tokenizer_to_bytes
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.provenance.ledger import Ledger
from llmos.recipe import Recipe
from llmos.storage import sha256_file, sha256_hex
from llmos.training.alone import resume_alone, start_alone
from llmos.training.material import Material
from llmos.training.objectives import make_objective
from llmos.training.shard_material import ShardMaterial, open_material, pack_settings

SETTINGS: dict[str, Any] = {
    "model.num_layers": 1,
    "model.num_heads": 2,
    "model.hidden_size": 16,
    "model.context_length": 32,
    "tokenizer.vocabulary_size": 300,
    "tokenizer.threshold": 1,
    "data.validation": 0.2,
    "data.test": 0.2,
    "training.sequence_length": 32,
    "training.batch_size": 2,
    "training.steps": 6,
    "training.threads": 1,
    "training.precision": "fp32",
    "rounds.local_steps": 3,
}
FAMILIES = {
    "causal_lm": {"model.family": "gpt2"},
    "masked_lm": {"model.family": "bert", "objective.next_sentence": False},
    "span_corruption": {"model.family": "t5", "tokenizer.vocabulary_size": 370},
}
WORDS = ("harbour", "lantern", "bicycle", "compass", "码头", "灯笼", "mlango", "taa")


def recipe_of(objective: str = "causal_lm", **changes: Any) -> Recipe:
    values = {**SETTINGS, "objective.name": objective, **FAMILIES[objective]}
    changed = {name.replace("__", "."): value for name, value in changes.items()}
    return Recipe(name="test").with_values({**values, **changed})


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder of 60 documents in two languages."""
    folder = tmp_path_factory.mktemp("source") / "prepared"
    (folder / "documents").mkdir(parents=True)
    draw = random.Random(1)
    records = [
        {
            "text": " ".join(draw.choices(WORDS, k=30)) + f". {number}",
            "language": "en" if number % 4 else "sw",
            "source_name": "web",
        }
        for number in range(60)
    ]
    content = "".join(json.dumps(record) + "\n" for record in records)
    card = {"kind": KIND, "version": VERSION, "languages": ["en", "sw"]}
    (folder / "card.json").write_text(json.dumps(card))
    path = folder / "documents" / "00000.jsonl.gz"
    path.write_bytes(gzip.compress(content.encode(), mtime=0))
    return folder


def records_of(source: Path) -> list[dict[str, str]]:
    content = gzip.decompress((source / "documents/00000.jsonl.gz").read_bytes())
    return [json.loads(line) for line in content.splitlines()]


def tokenizer_of(source: Path, recipe: Recipe) -> bytes:
    counts = count_pieces([record["text"] for record in records_of(source)])
    return tokenizer_to_bytes(train_tokenizer(counts, recipe))


def words_of(tokenizer: bytes) -> Vocabulary:
    return Vocabulary.of(tokenizer_from_bytes(tokenizer))


def shards_of(source: Path, out: Path, recipe: Recipe) -> Path:
    tokenizer = tokenizer_of(source, recipe)
    pack_folder(source, out, tokenizer, pack_settings(recipe, words_of(tokenizer), tokenizer))
    return out


@pytest.fixture(scope="module")
def shards(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards for the recipe of `causal_lm`. Tests only read them."""
    return shards_of(source, tmp_path_factory.mktemp("shards") / "shards", recipe_of())


@pytest.mark.parametrize("objective", FAMILIES)
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_batches_are_those_of_the_same_documents_in_memory(
    source: Path, tmp_path: Path, objective: str, temperature: float
) -> None:
    recipe = recipe_of(objective, data__mixture_temperature=temperature)
    folder = shards_of(source, tmp_path / "shards", recipe)
    material = open_material(folder, recipe)
    assert isinstance(material, ShardMaterial) and material.split.train == []
    tokenizer = material.tokenizer_bytes()
    made = make_objective(recipe, words_of(tokenizer))
    found = material.training_batches(made, tokenizer)
    documents = [
        Document("", record["text"], language=record["language"], source="web")
        for record in records_of(source)
        if side_of(split_digest(Document("", record["text"]), 0), validation=0.2, test=0.2)
        == "train"
    ]
    if temperature == 1.0:  # then they are one text, the languages one behind the other
        documents.sort(key=lambda document: document.language)
        if objective != "span_corruption":  # and two separators between those
            first_sw = [d.language for d in documents].index("sw")
            documents.insert(first_sw, Document("", ""))
    expected = made.batches(documents, 0)
    for step in (0, 1, 50, 7):
        a, b = found.batch(step, 4), expected.batch(step, 4)
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_held_out_documents_are_those_of_the_text_itself(
    source: Path, shards: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(evaluation__validation_bytes=0)
    found, text = open_material(shards, recipe), Material(source, recipe)
    for name in ("validation", "test"):
        ours: list[Document] = getattr(found.split, name)
        theirs: list[Document] = getattr(text.split, name)
        assert [d.text for d in ours] == [d.text for d in theirs] and len(ours) > 3
    for name in ("train", "validation", "test", "languages", "data_card_sha256"):
        assert found.card[name] == text.card[name]
    assert found.card.keys() == text.card.keys()
    assert found.validation_documents() == found.split.validation
    limited = open_material(shards, recipe_of(evaluation__validation_bytes=100))
    assert sum(len(d.text.encode()) for d in limited.validation_documents()) <= 100


def test_what_was_packed_for_something_else_is_refused(source: Path, shards: Path) -> None:
    material = open_material(shards, recipe_of())
    tokenizer = material.tokenizer_bytes()

    def batches(recipe: Recipe, content: bytes = tokenizer) -> None:
        made = make_objective(recipe, words_of(content))
        open_material(shards, recipe).training_batches(made, content)

    batches(recipe_of())
    with pytest.raises(DataError, match=r"another seed \(0\) than this run has \(9\): pack"):
        batches(recipe_of(seed=9))
    with pytest.raises(DataError, match=r"another data.part_bytes \(0\) than this run has \(50\)"):
        batches(recipe_of(data__part_bytes=50))
    other = tokenizer_of(source, recipe_of(tokenizer__vocabulary_size=290))
    with pytest.raises(DataError, match=rf"sha256 of the tokenizer .*{sha256_hex(other)[:12]}"):
        batches(recipe_of(), other)
    t5 = recipe_of("span_corruption")
    made = make_objective(t5, words_of(tokenizer_of(source, t5)))
    with pytest.raises(DataError, match=r"another separator of documents \(0\) .* \(None\)"):
        open_material(shards, t5).training_batches(made, tokenizer)
    with pytest.raises(DataError, match=r"has 300 entries, but .*vocabulary_size = 310: write 300"):
        open_material(shards, recipe_of(tokenizer__vocabulary_size=310)).tokenizer_bytes()


def test_objectives_that_need_more_than_tokens_are_refused(source: Path, shards: Path) -> None:
    pairs = recipe_of("masked_lm", objective__next_sentence=True)
    tokenizer = tokenizer_of(source, pairs)
    with pytest.raises(RecipeError, match=r"write next_sentence = false"):
        pack_settings(pairs, words_of(tokenizer), tokenizer)
    chat = recipe_of().with_values({"objective.name": "instruction"})
    tokenizer = tokenizer_of(source, chat)
    with pytest.raises(RecipeError, match="token shards hold no records of the kind chat"):
        pack_settings(chat, words_of(tokenizer), tokenizer)
    mixed = {"data.mixture_temperature": 2.0}
    for recipe in (pairs.with_values(mixed), chat.with_values(mixed)):
        with pytest.raises(RecipeError, match="are for packed text"):
            make_objective(recipe, words_of(tokenizer_of(source, recipe)))


def test_a_joint_run_refuses_shards(shards: Path) -> None:
    with pytest.raises(DataError, match="which one organisation alone can train on"):
        Material(shards, recipe_of())
    with pytest.raises(DataError, match="no tokenizer can be trained"):
        open_material(shards, recipe_of()).counts()


def test_text_in_several_languages_is_mixed_in_memory_too(tmp_path: Path) -> None:
    lines = [
        {"text": "灯笼挂在码头" * 6 + str(n), "language": "zh"}
        if n % 10 == 0
        else {"text": "the lantern hangs here " * 6 + str(n), "language": "en"}
        for n in range(200)
    ]
    (tmp_path / "text.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe = recipe_of(data__mixture_weights=["en=1", "zh=3"], tokenizer__vocabulary_size=270)
    material = Material(tmp_path, recipe)
    tokenizer = material.tokenizer_bytes()
    words = words_of(tokenizer)
    batches = material.training_batches(make_objective(recipe, words), tokenizer)
    rows = [words.tokenizer.decode(row) for row in batches.batch(0, 40)["input_ids"].tolist()]
    # A tenth of the documents, three quarters of the rows; none holds text of both.
    assert sum(any(c > "\u4e00" for c in row) for row in rows) == 30
    assert sum("n" in row for row in rows) == 10


def test_a_run_from_shards_goes_on_to_the_same_bits(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(data__mixture_temperature=2.0)
    start_alone(recipe, shards, tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "validated" and event["step"] == 3:
            raise Stop

    with pytest.raises(Stop):
        start_alone(recipe, shards, tmp_path / "stopped", listener=stop)
    resume_alone(tmp_path / "stopped")
    whole, stopped = (
        sha256_file(tmp_path / name / "model" / "model.safetensors")
        for name in ("whole", "stopped")
    )
    assert whole == stopped
    opened = Ledger.open(tmp_path / "whole" / "ledger.jsonl").entries[0]
    assert opened.body["card"]["train"]["units"] > 20


def test_other_shards_than_it_was_started_with_are_refused(
    source: Path, shards: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(shards, tmp_path / "shards")

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "validated":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start_alone(recipe_of(), copy, tmp_path / "run", listener=stop)
    manifest = json.loads((copy / MANIFEST).read_bytes())
    removed = next(shard for shard in manifest["shards"] if shard["split"] == "train")
    manifest["shards"].remove(removed)
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match=r"card_sha256 is not what .* was started with"):
        resume_alone(tmp_path / "run")
