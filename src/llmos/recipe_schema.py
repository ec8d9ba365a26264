"""The sections of a recipe about the model, its text and its training: each key with its meaning.

To add a key: one field here, with its `about(...)`, marked `later=True`; checks, `llmos recipe`
and docs/recipe.md follow. A changed default changes the sha256 of agreed recipes, so it needs a
new recipe version. What the members do together is in `recipe_joint`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from llmos.recipe_about import about

FIELD = r"[^\s./\\]{1,64}"
FIELD_WORDS = "1 to 64 characters without blanks, dots and slashes"


@dataclass(frozen=True, kw_only=True)
class ModelSection:
    """The network, as a class of the transformers library."""

    family: str = field(
        default="gpt2",
        metadata=about("architecture of the network", choices=("gpt2", "llama", "bert", "t5")),
    )
    size: str = field(
        default="",
        metadata=about(
            "a size by name, for the dimensions that the recipe does not state",
            choices=("", "tiny", "10m", "14m", "124m", "350m", "1b", "7b"),
            later=True,
        ),
    )
    base: str = field(
        default="",
        metadata=about(
            "folder (or name on a hub, if it was fetched before) of a transformers model to go on "
            "from, with its own dimensions and tokenizer; empty: a new model",
            later=True,
        ),
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
    num_key_value_heads: int = field(
        default=0,
        metadata=about(
            "llama: heads of keys and values, shared by groups of attention heads (arXiv "
            "2305.13245); 0: as many as num_heads",
            minimum=0,
            maximum=1024,
            later=True,
        ),
    )
    intermediate_size: int = field(
        default=0,
        metadata=about(
            "width inside each feed-forward block; 0: the usual one, 4 times hidden_size "
            "(llama: 8/3, its three matrices hold as many weights)",
            minimum=0,
            maximum=1048576,
            later=True,
        ),
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
class DataSection:
    """How each member reads its text and what it holds out."""

    text_field: str = field(
        default="text",
        metadata=about(
            "field of a JSON Lines record that holds the text",
            pattern=FIELD,
            pattern_words=FIELD_WORDS,
        ),
    )
    source_field: str = field(
        default="source",
        metadata=about(
            "seq2seq, instruction: field of a record with the source or the prompt",
            pattern=FIELD,
            pattern_words=FIELD_WORDS,
            later=True,
        ),
    )
    target_field: str = field(
        default="target",
        metadata=about(
            "seq2seq, instruction: field of a record with the target or the answer",
            pattern=FIELD,
            pattern_words=FIELD_WORDS,
            later=True,
        ),
    )
    label_field: str = field(
        default="label",
        metadata=about(
            "classification: field of a record with the label",
            pattern=FIELD,
            pattern_words=FIELD_WORDS,
            later=True,
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
    mixture_temperature: float = field(
        default=1.0,
        metadata=about(
            "causal_lm, span_corruption, masked_lm without next_sentence: a language and source "
            "with n tokens gets a share of the training that grows as n^(1/temperature) (arXiv "
            "1911.02116); 1: as much as it has text",
            minimum=1.0,
            maximum=1000.0,
            later=True,
        ),
    )
    mixture_weights: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "the same objectives: share of the training by language, each in proportion to its "
            "weight; mixture_temperature then divides it among the sources of a language; all "
            "languages of the text are named, those with 0 are not trained on; none named: no "
            "weights",
            pattern=r"[A-Za-z0-9-]{1,35}=[0-9]{1,9}(\.[0-9]{1,9})?",
            pattern_words="a language and its weight such as en=2 or sw=0.5",
            later=True,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class ObjectiveSection:
    """What the model learns to do."""

    name: str = field(
        default="causal_lm",
        metadata=about(
            "causal_lm: predict the next token; masked_lm: BERT's masked tokens and next "
            "sentence (arXiv 1810.04805); span_corruption: T5's (arXiv 1910.10683); seq2seq: "
            "source to target; instruction: prompt or chat to answer; classification: text to "
            "label; extractive_qa: the answer's place in a context",
            choices=(
                "causal_lm",
                "masked_lm",
                "span_corruption",
                "seq2seq",
                "instruction",
                "classification",
                "extractive_qa",
            ),
        ),
    )
    noise_share: float = field(
        default=0.15,
        metadata=about(
            "masked_lm, span_corruption: tokens hidden from the model",
            unit="share",
            above=0.0,
            below=1.0,
            later=True,
        ),
    )
    span_length: float = field(
        default=3.0,
        metadata=about(
            "span_corruption: mean length of a hidden span",
            unit="tokens",
            minimum=1.0,
            maximum=1000.0,
            later=True,
        ),
    )
    next_sentence: bool = field(
        default=True,
        metadata=about(
            "masked_lm: also tell whether the second half follows the first, or comes from another "
            "document (half of the pairs)",
            later=True,
        ),
    )
    labels: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "classification: the labels, in the order of the model's outputs", later=True
        ),
    )


@dataclass(frozen=True, kw_only=True)
class TrainingSection:
    """The optimiser steps that each member takes on its own text."""

    optimizer: str = field(
        default="adamw",
        metadata=about(
            "inner optimiser; adamw: arXiv 1711.05101; muon: orthogonalised momentum for the "
            "matrices (arXiv 2502.16982, scaled to AdamW's learning rate), AdamW for the rest",
            choices=("adamw", "muon"),
        ),
    )
    muon_momentum: float = field(
        default=0.95,
        metadata=about("muon: momentum (Nesterov), per step", minimum=0.0, below=1.0, later=True),
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
            "course of the learning rate after the warm-up; wsd: constant, then linear in the "
            "last decay_share of the steps after it (arXiv 2404.06395)",
            choices=("cosine", "constant", "linear", "wsd"),
        ),
    )
    decay_share: float = field(
        default=0.2,
        metadata=about(
            "wsd: part of the steps in which the learning rate falls",
            unit="share",
            above=0.0,
            maximum=1.0,
            later=True,
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
    micro_batch_size: int = field(
        default=0,
        metadata=about(
            "sequences computed at once, gradients being added up over the batch; 0: all",
            unit="sequences",
            minimum=0,
            maximum=1048576,
            later=True,
        ),
    )
    steps: int = field(
        default=0,
        metadata=about(
            "optimiser steps when one organisation trains alone; 0: rounds.count x "
            "rounds.local_steps",
            unit="steps",
            minimum=0,
            maximum=1000000000,
            later=True,
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
    document_attention: bool = field(
        default=False,
        metadata=about(
            "causal_lm, instruction: attention stays within a document where several are packed "
            "into one sequence",
            later=True,
        ),
    )
    gradient_checkpointing: bool = field(
        default=False,
        metadata=about(
            "compute activations again in the backward pass instead of keeping them: less memory, "
            "about a third more time",
            later=True,
        ),
    )
    compile: bool = field(
        default=False,
        metadata=about(
            "compile the model (torch.compile): faster on a GPU, not the same bits", later=True
        ),
    )
    not_finite: str = field(
        default="stop",
        metadata=about(
            "what to do when a loss or gradient is not a finite number: stop (and keep the batch), "
            "skip the step, or lower: skip it and halve the learning rate",
            choices=("stop", "skip", "lower"),
            later=True,
        ),
    )
    method: str = field(
        default="full",
        metadata=about(
            "full: train the model's own weights; lora: train low-rank additions to them "
            "(section [lora])",
            choices=("full", "lora"),
            later=True,
        ),
    )
    freeze: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "weights that stay as they are, as patterns of names such as transformer.h.0.*",
            later=True,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class LoraSection:
    """Low-rank adapters (arXiv 2106.09685), for training.method = "lora"."""

    rank: int = field(
        default=8, metadata=about("rank of the additions", minimum=1, maximum=4096, later=True)
    )
    alpha: float = field(
        default=16.0,
        metadata=about(
            "scale: the additions count alpha / rank", above=0.0, maximum=1e6, later=True
        ),
    )
    dropout: float = field(
        default=0.0,
        metadata=about(
            "share of the additions' inputs dropped in training",
            unit="share",
            minimum=0.0,
            below=1.0,
            later=True,
        ),
    )
    targets: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "names of the layers that get additions, such as q_proj; none: all linear layers "
            "but the output",
            later=True,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class CheckpointSection:
    """What a run of one organisation keeps, so that it can go on after a crash."""

    every: int = field(
        default=0,
        metadata=about(
            "steps between checkpoints; 0: at each validation",
            unit="steps",
            minimum=0,
            maximum=1000000000,
            later=True,
        ),
    )
    keep_last: int = field(
        default=2,
        metadata=about("newest checkpoints kept", minimum=1, maximum=1000000, later=True),
    )
    keep_best: bool = field(
        default=True,
        metadata=about("also keep the one with the best validation figure", later=True),
    )
