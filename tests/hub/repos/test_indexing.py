"""What is shown of a repository, after commits to it."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from sqlalchemy import select

from llmos.hub.database.tables import links, repo_tags, repos
from llmos.hub.git import versions
from llmos.hub.repos import changes, facts, indexing, making
from llmos.hub.repos.content import keep_bytes
from llmos.provenance.cards import PIPELINES

CARD = b"""---
license: cc-by-4.0
language: [no, zh]
tags: [Medical, joint-training]
datasets: acme/Text
base_model: acme/Base
run: acme/run-1
---
# Title

![badge](x)

A model of   hospitals.
See https://arxiv.org/abs/2401.01234v2 and https://arxiv.org/pdf/1706.03762.
"""


@pytest.fixture
def model(world: Any, caller: Any) -> Any:
    return making.make_repo(world.hub, caller("alice"), "model", "acme/m")


def _all(world: Any, table: Any, repo: Any) -> list[tuple[Any, ...]]:
    with world.hub.database.read() as connection:
        query = select(*[column for column in table.c if column.name != "repo_id"])
        return sorted(
            tuple(row) for row in connection.execute(query.where(table.c.repo_id == repo.id))
        )


def test_a_card_becomes_tags_links_licence_and_a_line(world: Any, model: Any, commit: Any) -> None:
    row = commit(model, {"README.md": CARD})
    assert row.license == "cc-by-4.0"
    assert row.card["language"] == ["no", "zh"]
    assert row.facts["description"] == (
        "A model of hospitals. See https://arxiv.org/abs/2401.01234v2 and "
        "https://arxiv.org/pdf/1706.03762."
    )
    assert set(row.tags) == {
        *("Medical", "joint-training", "dataset:acme/Text", "no", "zh", "license:cc-by-4.0"),
        *("arxiv:2401.01234", "arxiv:1706.03762"),
        *("base_model:acme/Base", "base_model:finetune:acme/Base"),
    }
    assert _all(world, repo_tags, row) == sorted((tag.lower(),) for tag in row.tags)
    assert _all(world, links, row) == [
        ("base_model", "acme/Base"),
        ("dataset", "acme/Text"),
        ("paper", "1706.03762"),
        ("paper", "2401.01234"),
        ("run", "acme/run-1"),
    ]


def test_what_a_card_no_longer_says_is_gone(world: Any, model: Any, commit: Any) -> None:
    commit(model, {"README.md": CARD})
    row = commit(model, {"README.md": b"plain"})
    assert (row.card, row.tags, row.license) == ({}, [], "")
    assert _all(world, repo_tags, row) == _all(world, links, row) == []


def test_a_commit_that_touches_none_of_its_files_does_not_read_them_again(
    world: Any, model: Any, commit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = commit(model, {"README.md": CARD})
    monkeypatch.setattr(indexing, "read_head", lambda text: pytest.fail("the card was read"))
    after = commit(model, {"data.txt": b"x"})
    assert (after.card, after.tags, after.facts) == (before.card, before.tags, before.facts)
    assert after.head != before.head


@pytest.mark.parametrize(
    ("config", "task", "auto"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "text-generation", "AutoModelForCausalLM"),
        ({"architectures": ["LlamaForCausalLM"]}, "text-generation", "AutoModelForCausalLM"),
        ({"architectures": ["BertForMaskedLM"]}, "fill-mask", "AutoModelForMaskedLM"),
        ({"architectures": ["BertForPreTraining"]}, "fill-mask", "AutoModelForPreTraining"),
        (
            {"architectures": ["BertForSequenceClassification"]},
            "text-classification",
            "AutoModelForSequenceClassification",
        ),
        (
            {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5"},
            "text2text-generation",
            "AutoModelForSeq2SeqLM",
        ),
        ({"architectures": ["BertModel"]}, "feature-extraction", "AutoModel"),
    ],
)
def test_the_task_follows_from_the_architecture(
    model: Any, commit: Any, config: dict[str, Any], task: str, auto: str
) -> None:
    row = commit(model, {"config.json": json.dumps(config).encode()})
    assert row.facts["pipeline_tag"] == task
    assert row.facts["transformersInfo"]["auto_model"] == auto
    assert row.facts["library_name"] == "transformers"


def test_a_card_says_more_than_a_config(model: Any, commit: Any) -> None:
    card = b"---\npipeline_tag: translation\nlibrary_name: llmos\n---\n"
    config = b'{"architectures": ["T5ForConditionalGeneration"], "model_type": "t5"}'
    row = commit(model, {"README.md": card, "config.json": config})
    assert row.facts["pipeline_tag"] == "translation"
    assert {"t5", "llmos", "translation"} <= set(row.tags)


@pytest.mark.parametrize(
    ("stated", "relation"),
    [
        (b"base_model_relation: quantized", "quantized"),
        (b"library_name: peft", "adapter"),
        (b"tags: [merge]", "merge"),
        (b"tags: [gguf]", "quantized"),
        (b"tags: [x]", "finetune"),
        (b"base_model_relation: {a: b}", "finetune"),
    ],
)
def test_how_a_model_was_made_from_its_base(
    model: Any, commit: Any, stated: bytes, relation: str
) -> None:
    row = commit(model, {"README.md": b"---\nbase_model: a/b\n" + stated + b"\n---\n"})
    assert f"base_model:{relation}:a/b" in row.tags


def test_an_adapter_names_its_base(model: Any, commit: Any) -> None:
    row = commit(model, {"adapter_config.json": b'{"base_model_name_or_path": "gpt2"}'})
    assert "base_model:adapter:gpt2" in row.tags
    row = commit(model, {"adapter_config.json": b'{"base_model_name_or_path": "/home/me/x y"}'})
    assert row.tags == ["peft"]


def _weights(number: int) -> bytes:
    """A safetensors file with that many parameters."""
    about = {"w": {"dtype": "F32", "shape": [number], "data_offsets": [0, 4 * number]}}
    header = json.dumps(about).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4 * number)


@pytest.mark.parametrize(
    "sizes",
    [
        {"model.safetensors": 7},
        {"model-00001-of-00002.safetensors": 3, "model-00002-of-00002.safetensors": 4},
    ],
)
def test_parameters_are_counted_over_all_parts(
    model: Any, commit: Any, sizes: dict[str, int]
) -> None:
    row = commit(model, {name: _weights(number) for name, number in sizes.items()})
    assert row.facts["safetensors"] == {"parameters": {"F32": 7}, "total": 7}
    assert row.parameters == 7
    assert "safetensors" in row.tags


def test_tasks_are_those_that_our_own_cards_state() -> None:
    ours = {auto: task for task, auto in [*facts.TASKS.values(), facts.SEQ2SEQ]}
    assert {auto: ours.get(auto) for auto in PIPELINES} == PIPELINES


@pytest.mark.parametrize(
    "files",
    [
        {"README.md": b"---\ntags: {a: [b]}\nlicense: [[x]]\nlanguage: true\n---\n"},
        {"README.md": b"\xff\xfe---\n\x00"},
        {"README.md": b"---\ntags: [" + b"x" * 100_000 + b"]\n---\n"},
        {"README.md": b"---\ntags: [" + b",".join(b"t%d" % i for i in range(9000)) + b"]\n---\n"},
        {"README.md": '---\ntags: ["İ\\0", "\U0001f600"]\nbase_model: "../../x y"\n---\n'.encode()},
        {"config.json": b"[1]"},
        {"config.json": b"{"},
        {"config.json": b'{"architectures": {"a": 1}, "model_type": [1]}'},
        {"config.json": b'{"architectures": [1, null]}'},
        {"tokenizer_config.json": b'{"mask_token": {"content": [1]}}'},
        {"README.md/x": b"a folder"},
    ],
)
def test_broken_files_do_not_stop_a_commit(
    world: Any, model: Any, commit: Any, files: dict[str, bytes]
) -> None:
    row = commit(model, files)
    assert row.head != model.head
    assert len(row.tags) <= indexing.MOST_TAGS
    assert all(len(tag) <= 200 for (tag,) in _all(world, repo_tags, row))
    assert world.ask("GET", "/api/models/acme/m").json()["sha"] == row.head


def test_only_main_is_indexed(world: Any, caller: Any, model: Any) -> None:
    with world.hub.database.write() as connection:
        versions.add_ref(connection, model.id, "refs/heads/other", "branch", model.head)
    entry = keep_bytes(world.hub, CARD)
    made = changes.Changes("card", added={"README.md": entry})
    changes.commit(world.hub, caller("alice"), model, "other", made)
    with world.hub.database.read() as connection:
        row = connection.execute(select(repos).where(repos.c.id == model.id)).one()
    assert (row.card, row.tags) == ({}, [])
