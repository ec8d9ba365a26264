"""Model families by name: transformers' own classes, so that all that is saved loads anywhere.

A family gives the configuration of a new model; the head (what the model puts out) gives the class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    BertConfig,
    GPT2Config,
    LlamaConfig,
    T5Config,
)

from llmos.device import default_device
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import ModelSection

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

HEADS: dict[str, Any] = {
    "causal_lm": AutoModelForCausalLM,
    "masked_lm": AutoModelForMaskedLM,
    "masked_lm_next_sentence": AutoModelForPreTraining,
    "seq2seq": AutoModelForSeq2SeqLM,
    "classification": AutoModelForSequenceClassification,
    "extractive_qa": AutoModelForQuestionAnswering,
}


def _gpt2(model: ModelSection, words: Vocabulary) -> PretrainedConfig:
    return GPT2Config(
        vocab_size=words.size,
        n_positions=model.context_length,
        n_embd=model.hidden_size,
        n_layer=model.num_layers,
        n_head=model.num_heads,
        n_inner=model.intermediate_size or None,
        resid_pdrop=model.dropout,
        embd_pdrop=model.dropout,
        attn_pdrop=model.dropout,
        bos_token_id=words.end,
        eos_token_id=words.end,
        pad_token_id=words.pad,
    )


def _llama(model: ModelSection, words: Vocabulary) -> PretrainedConfig:
    # SwiGLU's three matrices of 8/3 h hold as many weights as the usual two of 4 h (2002.05202).
    usual = (8 * model.hidden_size // 3 + 31) // 32 * 32
    return LlamaConfig(
        vocab_size=words.size,
        max_position_embeddings=model.context_length,
        hidden_size=model.hidden_size,
        intermediate_size=model.intermediate_size or usual,
        num_hidden_layers=model.num_layers,
        num_attention_heads=model.num_heads,
        num_key_value_heads=model.num_key_value_heads or model.num_heads,
        attention_dropout=model.dropout,
        tie_word_embeddings=True,
        bos_token_id=words.end,
        eos_token_id=words.end,
        pad_token_id=words.pad,
    )


def _bert(model: ModelSection, words: Vocabulary) -> PretrainedConfig:
    return BertConfig(
        vocab_size=words.size,
        max_position_embeddings=model.context_length,
        hidden_size=model.hidden_size,
        intermediate_size=model.intermediate_size or 4 * model.hidden_size,
        num_hidden_layers=model.num_layers,
        num_attention_heads=model.num_heads,
        hidden_dropout_prob=model.dropout,
        attention_probs_dropout_prob=model.dropout,
        pad_token_id=words.pad,
    )


def _t5(model: ModelSection, words: Vocabulary) -> PretrainedConfig:
    made = T5Config(
        vocab_size=words.size,
        d_model=model.hidden_size,
        d_kv=model.hidden_size // model.num_heads,
        d_ff=model.intermediate_size or 4 * model.hidden_size,
        num_layers=model.num_layers,
        num_heads=model.num_heads,
        dropout_rate=model.dropout,
        eos_token_id=words.end,
        pad_token_id=words.pad,
    )
    made.decoder_start_token_id = words.pad  # as T5 has it
    return made


CONFIGS = {"gpt2": _gpt2, "llama": _llama, "bert": _bert, "t5": _t5}


def build_model(
    model: ModelSection,
    words: Vocabulary,
    seed: int,
    *,
    head: str = "causal_lm",
    labels: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
) -> PreTrainedModel:
    """A model for this vocabulary with weights drawn from `seed`, on the default device.

    `head` is one of `HEADS`; `labels` name the outputs of a classifier. `config` (the content of a
    config.json) takes the place of the dimensions in `model`, as for a copy of a base. The caller's
    random state is left as it was.
    """
    made = configuration(model, words, labels=labels, config=config)
    device = default_device()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built: nn.Module = HEADS[head].from_config(made)
    return cast("PreTrainedModel", built.to(device))


def configuration(
    model: ModelSection,
    words: Vocabulary,
    *,
    labels: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
) -> PretrainedConfig:
    """The transformers configuration that `build_model` builds."""
    if config is None:
        made = CONFIGS[model.family](model, words)
    else:
        values = dict(config)
        made = AutoConfig.for_model(values.pop("model_type"), **values)
    if labels:
        made.id2label = dict(enumerate(labels))
        made.label2id = {label: number for number, label in enumerate(labels)}
    made._attn_implementation = attention()
    return made


def attention() -> str | None:
    """How attention is computed here; None: as transformers chooses, fused where it can."""
    # Explicit attention is 1.4-1.8 times as fast as the fused kernel for short bf16 rows on a CPU.
    return "eager" if default_device() == "cpu" else None
