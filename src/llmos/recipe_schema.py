"""The sections and keys of a recipe, each with its meaning, unit and range.

To add a key: one field here, with its `about(...)`; checks, `llmos recipe` and docs/recipe.md
follow. A changed default changes the sha256 of agreed recipes, so it needs a new recipe version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SLUG = r"[a-z0-9][a-z0-9_-]{0,39}"
SLUG_WORDS = "1 to 40 of a-z, 0-9, _ and -, starting with a letter or digit"


@dataclass(frozen=True)
class About:
    """What is known of one key beyond its type and default.

    `minimum` and `maximum` belong to the range, `above` and `below` do not. For text, `pattern`
    is a regular expression for the whole value and `pattern_words` says it in words; for lists,
    all of these hold for each item, and `items` are the fewest and most items.
    """

    doc: str
    unit: str = ""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    pattern: str | None = None
    pattern_words: str = ""
    items: tuple[int, int] = (0, 1000)


def about(doc: str, **known: Any) -> Mapping[str, About]:
    """The `metadata` of one field; the arguments are those of `About`."""
    return {"about": About(doc, **known)}


@dataclass(frozen=True, kw_only=True)
class ModelSection:
    """The network, as a class of the transformers library."""

    family: str = field(
        default="gpt2", metadata=about("architecture of the network", choices=("gpt2", "llama"))
    )
    num_layers: int = field(
        default=4, metadata=about("transformer blocks", minimum=1, maximum=1024)
    )
    num_heads: int = field(
        default=4, metadata=about("attention heads of each block", minimum=1, maximum=1024)
    )
    hidden_size: int = field(
        default=128,
        metadata=about("width of the network; divisible by num_heads", minimum=1, maximum=65536),
    )
    context_length: int = field(
        default=128,
        metadata=about(
            "longest text the model can look at", unit="tokens", minimum=2, maximum=1048576
        ),
    )
    dropout: float = field(
        default=0.0,
        metadata=about(
            "share of activations dropped in training", unit="share", minimum=0.0, below=1.0
        ),
    )


@dataclass(frozen=True, kw_only=True)
class TokenizerSection:
    """The tokenizer, trained jointly before round 1."""

    algorithm: str = field(
        default="byte_bpe",
        metadata=about(
            "how text is cut: byte_bpe is byte-pair encoding over UTF-8 bytes",
            choices=("byte_bpe",),
        ),
    )
    vocabulary_size: int = field(
        default=2048,
        metadata=about(
            "entries of the vocabulary, the 256 bytes and special tokens included",
            unit="tokens",
            minimum=260,
            maximum=2000000,
        ),
    )
    threshold: int = field(
        default=5,
        metadata=about(
            "a piece of text (mostly a word) that occurs fewer times than this at a member "
            "does not leave it; 0 and 1: every piece leaves",
            unit="occurrences",
            minimum=0,
            maximum=1000000000,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class DataSection:
    """How each member reads its text and what it holds out."""

    text_field: str = field(
        default="text",
        metadata=about(
            "field of a JSON Lines record that holds the text",
            pattern=r"[^\s./\\]{1,64}",
            pattern_words="1 to 64 characters without blanks, dots and slashes",
        ),
    )
    part_bytes: int = field(
        default=0,
        metadata=about(
            "0: a document is the unit of the held-out split; otherwise documents are first cut "
            "at paragraph ends into parts of about so many bytes",
            unit="bytes",
            minimum=0,
            maximum=1000000000,
        ),
    )
    validation: float = field(
        default=0.1,
        metadata=about(
            "share of the units, chosen by their hash, kept for choosing the round",
            unit="share",
            minimum=0.0,
            below=1.0,
        ),
    )
    test: float = field(
        default=0.1,
        metadata=about(
            "share of the units, chosen by their hash, kept for the final comparison",
            unit="share",
            minimum=0.0,
            below=1.0,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class ObjectiveSection:
    """What the model learns to do."""

    name: str = field(
        default="causal_lm",
        metadata=about("causal_lm: predict the next token", choices=("causal_lm",)),
    )


@dataclass(frozen=True, kw_only=True)
class TrainingSection:
    """The optimiser steps that each member takes on its own text."""

    optimizer: str = field(
        default="adamw",
        metadata=about("inner optimiser; adamw: arXiv 1711.05101", choices=("adamw",)),
    )
    learning_rate: float = field(
        default=1e-3, metadata=about("peak learning rate", above=0.0, maximum=10.0)
    )
    beta1: float = field(
        default=0.9,
        metadata=about("decay of the mean of gradients, per step", minimum=0.0, below=1.0),
    )
    beta2: float = field(
        default=0.95,
        metadata=about("decay of the mean of squared gradients, per step", minimum=0.0, below=1.0),
    )
    weight_decay: float = field(
        default=0.1, metadata=about("decoupled weight decay", minimum=0.0, maximum=10.0)
    )
    clip_norm: float = field(
        default=1.0,
        metadata=about("gradients are scaled down to this L2 norm", above=0.0, maximum=1e6),
    )
    warmup_steps: int = field(
        default=20,
        metadata=about(
            "steps in which the learning rate rises from 0 to its peak",
            unit="steps",
            minimum=0,
            maximum=100000000,
        ),
    )
    schedule: str = field(
        default="cosine",
        metadata=about(
            "course of the learning rate after the warm-up",
            choices=("cosine", "constant", "linear"),
        ),
    )
    final_learning_rate: float = field(
        default=0.1,
        metadata=about(
            "learning rate at the last step, as a share of the peak",
            unit="share",
            minimum=0.0,
            maximum=1.0,
        ),
    )
    batch_size: int = field(
        default=16,
        metadata=about(
            "sequences in one optimiser step", unit="sequences", minimum=1, maximum=1048576
        ),
    )
    sequence_length: int = field(
        default=128,
        metadata=about(
            "length of a training sequence; at most model.context_length",
            unit="tokens",
            minimum=2,
            maximum=1048576,
        ),
    )
    precision: str = field(
        default="bf16",
        metadata=about("arithmetic of the forward and backward pass", choices=("bf16", "fp32")),
    )
    threads: int = field(
        default=0,
        metadata=about(
            "processor threads; 0: as many as the machine has; the number used is recorded",
            unit="threads",
            minimum=0,
            maximum=4096,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class RoundsSection:
    """How often the members meet."""

    count: int = field(
        default=20, metadata=about("rounds of the run", unit="rounds", minimum=1, maximum=1000000)
    )
    local_steps: int = field(
        default=20,
        metadata=about(
            "optimiser steps of each member between two merges",
            unit="steps",
            minimum=1,
            maximum=1000000,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class AggregationSection:
    """How the members' updates become one model."""

    strategy: str = field(
        default="diloco",
        metadata=about(
            "fedavg: weighted mean (arXiv 1602.05629); diloco: the mean update through an outer "
            "Nesterov optimiser (arXiv 2311.08105)",
            choices=("fedavg", "diloco"),
        ),
    )
    outer_learning_rate: float = field(
        default=0.7, metadata=about("diloco: outer learning rate", above=0.0, maximum=10.0)
    )
    outer_momentum: float = field(
        default=0.9,
        metadata=about("diloco: outer Nesterov momentum, per round", minimum=0.0, below=1.0),
    )
    weighting: str = field(
        default="tokens",
        metadata=about(
            "weight of a member: tokens it trained on, or the same for each",
            choices=("tokens", "equal"),
        ),
    )


@dataclass(frozen=True, kw_only=True)
class CompressionSection:
    """How updates are written for the journey."""

    codec: str = field(
        default="int8",
        metadata=about(
            "number format of an update: 4, 2 or 1 bytes a parameter",
            choices=("fp32", "bf16", "int8"),
        ),
    )


@dataclass(frozen=True, kw_only=True)
class PrivacySection:
    """Who can see what."""

    mode: str = field(
        default="open",
        metadata=about(
            "open: the coordinator sees each member's update, never its text", choices=("open",)
        ),
    )


@dataclass(frozen=True, kw_only=True)
class EvaluationSection:
    """How the run is judged on text that nobody trained on."""

    every: int = field(
        default=1,
        metadata=about("rounds between validations", unit="rounds", minimum=1, maximum=1000000),
    )
    validation_bytes: int = field(
        default=200000,
        metadata=about(
            "most validation text scored for each member; 0: all",
            unit="bytes",
            minimum=0,
            maximum=10**12,
        ),
    )
    test_bytes: int = field(
        default=0,
        metadata=about(
            "most test text scored for each member; 0: all",
            unit="bytes",
            minimum=0,
            maximum=10**12,
        ),
    )
    stride: int = field(
        default=0,
        metadata=about(
            "step of the scoring window; 0: windows without overlap; at most model.context_length",
            unit="tokens",
            minimum=0,
            maximum=1048576,
        ),
    )
    bootstrap_samples: int = field(
        default=1000,
        metadata=about(
            "resamples of the documents behind each interval", minimum=1, maximum=1000000
        ),
    )
    select: str = field(
        default="best",
        metadata=about(
            "round that is published: best by mean validation bits per byte, or last",
            choices=("best", "last"),
        ),
    )
    columns: tuple[str, ...] = field(
        default=("alone", "together", "together_own", "pooled"),
        metadata=about(
            "columns of the comparison: alone (own text, own steps), alone_whole_budget (own "
            "text, the steps of all members), together, together_own (then local steps on own "
            "text), pooled (all text in one place, the steps of all members)",
            choices=("alone", "alone_whole_budget", "together", "together_own", "pooled"),
            items=(1, 5),
        ),
    )


@dataclass(frozen=True, kw_only=True)
class PublicationSection:
    """What is published in the end."""

    licence: str = field(
        default="Apache-2.0",
        metadata=about(
            "licence of the model, by its SPDX name",
            pattern=r"[A-Za-z0-9][A-Za-z0-9.+() -]{0,99}",
            pattern_words="such as Apache-2.0 or CC-BY-4.0",
        ),
    )
    keep_updates: bool = field(
        default=True,
        metadata=about(
            "keep every member's updates in the run folder, so that each merge can be checked"
        ),
    )


@dataclass(frozen=True, kw_only=True)
class AgreementSection:
    """Who agrees to the recipe."""

    members: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "names of the members; none: those named when the run starts",
            pattern=SLUG,
            pattern_words=SLUG_WORDS,
        ),
    )
    quorum: int = field(
        default=0,
        metadata=about(
            "how many members must sign before the run starts; 0: all",
            unit="members",
            minimum=0,
            maximum=1000,
        ),
    )
