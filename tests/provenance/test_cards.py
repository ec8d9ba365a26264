"""The model card: metadata that YAML reads back, and tables that no member's text can break."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from llmos.provenance.cards import CardMember, ModelCard, render_card

MEMBER = CardMember(
    name="charité",
    public_key="0123456789abcdef" * 4,
    tokens=1_234_567,
    share=0.75,
    languages=("de", "no"),
    licence="CC-BY-4.0",
    synthetic=False,
)
OTHER = replace(MEMBER, name="no", tokens=411_522, share=0.25, languages=(), licence="")
CARD = ModelCard(
    name="on",
    description="Two members train.",
    languages=("no", "zh", "de"),
    licence="Apache-2.0",
    family="gpt2",
    parameters=1_250_000,
    objective="causal_lm",
    members=(MEMBER, OTHER),
    rounds=20,
    local_steps=50,
    published_round=17,
    strategy="diloco",
    codec="int8",
    recipe_sha256="1" * 64,
    ledger_head="2e" + "3" * 62,
    ledger_entries=88,
    weights_sha256="0" * 64,
    scores={"charité": (1.23456, 17.126), "no": (2.0, 100.0)},
    table="",
)
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
MISREAD = ["no", "on", "~", "null", "1.0", "1e3", "0x10", "2001-01-01", "- a", "a: b", "#", "{"]
UNPRINTABLE = [
    "\u2028",
    "\x85",
    "\x7f",
    "\ufeff",
    "\ufffe",
    "a\nb",
    "\\",
    '"',
    "'",
    "---",
    "模型 😀",
]
awkward = st.sampled_from(MISREAD + UNPRINTABLE)


def metadata(card: ModelCard) -> Any:
    """The front matter, as the Hugging Face hub finds it."""
    text = render_card(card)
    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    assert found is not None
    return yaml.safe_load(found[1])


def table(text: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading, cut at unescaped bars as CommonMark cuts them."""
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.split("\n") if line.startswith("|")]
    return [[c.strip() for c in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def test_the_metadata_are_read_back() -> None:
    assert metadata(CARD) == {
        "library_name": "transformers",
        "license": "apache-2.0",
        "language": ["no", "zh", "de"],
        "pipeline_tag": "text-generation",
        "tags": ["llmos", "joint-training"],
        "model_name": "on",
        "llmos": {
            "card_version": 1,
            "recipe_sha256": "1" * 64,
            "ledger_head": "2e" + "3" * 62,
            "weights_sha256": "0" * 64,
            "members": [
                {"name": "charité", "tokens": 1_234_567, "token_share": 0.75},
                {"name": "no", "tokens": 411_522, "token_share": 0.25},
            ],
        },
    }


@given(any_text | awkward, any_text | awkward, any_text | awkward, any_text | awkward)
def test_metadata_stay_text_whatever_they_hold(
    name: str, language: str, member: str, licence: str
) -> None:
    card = replace(
        CARD,
        name=name,
        languages=(language,),
        licence=licence,
        members=(replace(MEMBER, name=member),),
    )
    found = metadata(card)
    assert found["model_name"] == name
    assert found["language"] == [language]
    assert found["license"] == licence.lower()
    assert found["llmos"]["members"][0]["name"] == member


def test_without_languages_there_is_no_language_key() -> None:
    assert "language" not in metadata(replace(CARD, languages=()))


def test_synthetic_text_is_said_twice() -> None:
    card = replace(CARD, members=(MEMBER, replace(OTHER, synthetic=True)))
    assert "synthetic-data" in metadata(card)["tags"]
    assert "training text is synthetic" in render_card(card)
    assert "synthetic" not in render_card(CARD)


def test_the_table_of_members() -> None:
    assert table(render_card(CARD), "Members")[2:] == [
        ["charité", "de, no", "CC-BY-4.0", "1,234,567", "75.0%", "`0123456789abcdef…`"],
        ["no", "not stated", "not stated", "411,522", "25.0%", "`0123456789abcdef…`"],
    ]


def test_the_table_of_scores() -> None:
    assert table(render_card(CARD), "Evaluation")[2:] == [
        ["charité", "1.2346", "17.13"],
        ["no", "2.0000", "100.00"],
    ]


@pytest.mark.parametrize("text", ["MIT | evil", "MIT\n## Members\n", "MIT\\|x", "<img src=x>"])
def test_what_a_member_writes_cannot_break_a_table(text: str) -> None:
    member = replace(MEMBER, licence=text, languages=(text,))
    card = render_card(replace(CARD, members=(member, OTHER)))
    rows = table(card, "Members")
    assert [len(row) for row in rows] == [6] * 4
    assert card.count("\n## Members\n") == 1
    assert "<img" not in card


def test_the_text_says_what_was_done_and_what_is_unknown() -> None:
    card = render_card(replace(CARD, table="| a | b |\n|---|---|\n| 1 | 2 |"))
    assert "# on\n\nTwo members train.\n" in card
    for said in (
        "A gpt2 model of 1,250,000 parameters (causal_lm), trained jointly by 2 member(s)",
        "20 rounds of 50 local steps, merged by diloco, updates sent as int8",
        "the weights after round 17",
        "88 entries up to this card",
        "not facts to rely on",
        "is their signed word, not proof",
        "| 1 | 2 |",
    ):
        assert said in card, said
    headings = re.findall(r"^## (.*)$", card, re.MULTILINE)
    assert headings == ["Members", "Evaluation", "Evidence", "Limits"]
    assert "Was it worth it?" not in render_card(CARD)
