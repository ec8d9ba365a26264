"""The sections of a recipe on what the members do together: tokenizer, rounds, merging, judging."""

from __future__ import annotations

from dataclasses import dataclass, field

from llmos.recipe_about import SLUG, SLUG_WORDS, about


@dataclass(frozen=True, kw_only=True)
class TokenizerSection:
    """The tokenizer, trained jointly before round 1."""

    algorithm: str = field(
        default="byte_bpe",
        metadata=about(
            "how text is cut: byte_bpe is byte-pair encoding over UTF-8 bytes; unigram is T5's "
            "(arXiv 1804.10959), with bytes for rare characters; wordpiece is BERT's, which loses "
            "white space and rare characters, for the family bert only",
            choices=("byte_bpe", "unigram", "wordpiece"),
        ),
    )
    vocabulary_size: int = field(
        default=2048,
        metadata=about(
            "entries of the vocabulary, special tokens and (but for wordpiece) the 256 bytes "
            "included",
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
    temperature: float = field(
        default=1.0,
        metadata=about(
            "a member with the share p of all text counts as if it had p^(1/temperature), so that "
            "small languages get tokens too (arXiv 2010.11934: 3.33); 1: as much as it has text; "
            "1/temperature is rounded to two decimals",
            minimum=1.0,
            maximum=100.0,
            later=True,
        ),
    )
    noise_epsilon: float = field(
        default=0.0,
        metadata=about(
            "noise on the counts that leave a member: their differential privacy for one document "
            "more or less (arXiv 2004.00010), drawn at the member; 0: no noise",
            unit="epsilon per document",
            minimum=0.0,
            maximum=1000.0,
            later=True,
        ),
    )
    noise_delta: float = field(
        default=1e-6,
        metadata=about(
            "with noise: probability that a piece of one document alone leaves; it raises the "
            "threshold",
            above=0.0,
            below=1.0,
            later=True,
        ),
    )
    noise_pieces: int = field(
        default=100,
        metadata=about(
            "with noise: most pieces of one document that count, each once; the noise grows with "
            "it",
            unit="pieces",
            minimum=1,
            maximum=1000000,
            later=True,
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
