"""The model card: README.md with YAML metadata, in the form that the Hugging Face hub reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CardMember:
    """A member as the card credits it."""

    name: str
    public_key: str
    tokens: int
    share: float
    languages: tuple[str, ...]
    licence: str
    synthetic: bool


@dataclass(frozen=True)
class ModelCard:
    """What a card says of a joint run, or of one organisation's (then `strategy` is empty).

    `auto_class` is the class of transformers that loads the model; `base` names the model that was
    continued, `method` says which of its weights were trained. `table` is a Markdown table, empty
    where nothing was compared.
    """

    name: str
    description: str
    languages: tuple[str, ...]
    licence: str
    family: str
    parameters: int
    objective: str
    members: Sequence[CardMember]
    rounds: int
    local_steps: int
    published_round: int
    strategy: str
    codec: str
    recipe_sha256: str
    ledger_head: str
    ledger_entries: int
    weights_sha256: str
    scores: Mapping[str, tuple[float, float]]
    table: str
    auto_class: str = "AutoModelForCausalLM"
    base: str = ""
    method: str = "full"
    version: int = 1


PIPELINES = {
    "AutoModelForCausalLM": "text-generation",
    "AutoModelForMaskedLM": "fill-mask",
    "AutoModelForPreTraining": "fill-mask",
    "AutoModelForSeq2SeqLM": "text2text-generation",
    "AutoModelForSequenceClassification": "text-classification",
    "AutoModelForQuestionAnswering": "question-answering",
}
"""The hub's word for what a model of each class does."""


def render_card(card: ModelCard) -> str:
    """The card as Markdown with YAML front matter."""
    parts = [
        _front_matter(card),
        f"# {card.name}\n",
        card.description + "\n" if card.description else "",
        _summary(card),
        _members(card),
        _scores(card),
        _evidence(card),
        _limits(card),
    ]
    return "\n".join(part for part in parts if part)


def _front_matter(card: ModelCard) -> str:
    lines = ["---", "library_name: transformers", f"license: {yaml_text(card.licence.lower())}"]
    if card.languages:
        lines += ["language:", *(f"- {yaml_text(language)}" for language in card.languages)]
    lines += [
        f"pipeline_tag: {PIPELINES[card.auto_class]}",
        *([f"base_model: {yaml_text(card.base)}"] if card.base else []),
        "tags:",
        "- llmos",
        *(["- joint-training"] if card.strategy else []),
        *(["- synthetic-data"] if any(m.synthetic for m in card.members) else []),
        f"model_name: {yaml_text(card.name)}",
        "llmos:",
        f"  card_version: {card.version}",
        f"  recipe_sha256: {yaml_text(card.recipe_sha256)}",
        f"  ledger_head: {yaml_text(card.ledger_head)}",
        f"  weights_sha256: {yaml_text(card.weights_sha256)}",
        "  members:",
    ]
    for member in card.members:
        lines += [
            f"  - name: {yaml_text(member.name)}",
            f"    tokens: {member.tokens}",
            f"    token_share: {member.share:.4f}",
        ]
    return "\n".join([*lines, "---\n"])


def yaml_text(text: str) -> str:
    """`text` as a string of YAML, on one line."""
    # A JSON string is a YAML string, whatever it holds ("no" would else be read as false), but
    # YAML refuses or folds some characters that JSON allows, such as U+2028: those are escaped.
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in quoted)


def cell(text: str) -> str:
    """`text` as one cell of a Markdown table: members write it, so it must not break the table."""
    line = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return line.replace("<", "&lt;")


def _cell(text: str) -> str:
    return cell(text) or "not stated"


def _summary(card: ModelCard) -> str:
    how = "" if card.method == "full" else f" ({card.method})"
    origin = f", continued from {_cell(card.base)}{how}" if card.base else ""
    if card.strategy:
        run = (
            f"trained jointly by {len(card.members)} member(s) with LLMOS: {card.rounds} rounds of "
            f"{card.local_steps} local steps, merged by {card.strategy}, updates sent as "
            f"{card.codec}. Published are the weights after round {card.published_round}. The "
            "members' text stayed with them."
        )
    else:
        run = (
            f"trained by one organisation with LLMOS: {card.local_steps} steps. Published are the "
            f"weights after step {card.published_round}."
        )
    return (
        f"A {card.family} model of {card.parameters:,} parameters ({card.objective}){origin}, "
        f"{run}\n\n"
        "```python\n"
        f"from transformers import {card.auto_class}, AutoTokenizer\n\n"
        f'model = {card.auto_class}.from_pretrained("PATH")\n'
        'tokenizer = AutoTokenizer.from_pretrained("PATH")\n'
        "```\n"
    )


def _members(card: ModelCard) -> str:
    rows = [
        f"| {_cell(m.name)} | {_cell(', '.join(m.languages))} | {_cell(m.licence)} | "
        f"{m.tokens:,} | {m.share:.1%} | `{m.public_key[:16]}…` |"
        for m in card.members
    ]
    who = "member" if card.strategy else "text"
    return "\n".join(
        [
            "## Members" if card.strategy else "## Training text",
            "",
            "Tokens are those trained on, repeats over epochs counted"
            + (", as each member reported." if card.strategy else "."),
            "",
            f"| {who} | languages | licence of the text | tokens | share | key |",
            "|---|---|---|---:|---:|---|",
            *rows,
            "",
        ]
    )


def _scores(card: ModelCard) -> str:
    rows = [f"| {_cell(m)} | {bits:.4f} | {ppl:.2f} |" for m, (bits, ppl) in card.scores.items()]
    where = "each member's held-out test text, which stayed there"
    if not card.strategy:
        where = "held-out test text"
    lines = [
        "## Evaluation",
        "",
        f"On {where}: bits per byte of what was to be predicted, and perplexity per token of it.",
        "",
        f"| {'member' if card.strategy else 'text'} | bits per byte | perplexity per token |",
        "|---|---:|---:|",
        *rows,
        "",
    ]
    if card.table:
        lines += [
            "Was it worth it? Against training alone and against all text in one place (bits per "
            "byte, lower is better; differences with 95 % bootstrap intervals):",
            "",
            card.table,
            "",
        ]
    return "\n".join(lines)


def _evidence(card: ModelCard) -> str:
    return "\n".join(
        [
            "## Evidence",
            "",
            f"- recipe: sha256 `{card.recipe_sha256}`",
            f"- ledger: {card.ledger_entries} entries up to this card, head `{card.ledger_head}`",
            f"- weights: sha256 `{card.weights_sha256}` (float32 values, little-endian, in the "
            "order of their sorted names)",
            "",
            "`llmos verify RUN` checks the chain, all signatures, these files"
            + (" and every merge." if card.strategy else "."),
            "",
        ]
    )


def _limits(card: ModelCard) -> str:
    lines = [
        "## Limits",
        "",
        "- It was not aligned, filtered or tested for safety, bias or memorised passages.",
        f"- At {card.parameters / 1e6:.1f} M parameters it has learned style and common patterns "
        "of its training text, not facts to rely on.",
        "- That members trained honestly on the text they describe, and that token counts are "
        "true, is their signed word, not proof.",
    ]
    if any(m.synthetic for m in card.members):
        lines.append("- Some or all of the training text is synthetic (generated from rules).")
    return "\n".join([*lines, ""])
