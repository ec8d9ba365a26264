"""Write a model folder in the Hugging Face layout: what `from_pretrained` loads without LLMOS."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import GenerationConfig

from llmos.models.folders import quietly
from llmos.models.vocabulary import Vocabulary
from llmos.storage import storage_errors

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SAMPLING: dict[str, Any] = {"do_sample": True, "temperature": 0.7, "top_k": 50}
"""How a decoder writes unless told otherwise; an encoder-decoder takes the likeliest token."""


def write_model_folder(
    folder: Path, model: PreTrainedModel, words: Vocabulary, context_length: int
) -> None:
    """Save weights (safetensors), configuration, tokenizer and generation defaults to `folder`.

    `context_length`, in tokens, is for models that do not say it themselves. Raises `StorageError`
    when the disk is full or the folder cannot be written.
    """
    context_length = longest_text(model) or context_length
    if model.can_generate():
        sampling = {} if model.config.is_encoder_decoder else SAMPLING
        model.generation_config = GenerationConfig(
            max_new_tokens=min(120, context_length - 1),
            bos_token_id=words.begin,
            eos_token_id=words.end,
            pad_token_id=words.pad,
            decoder_start_token_id=getattr(model.config, "decoder_start_token_id", None),
            **sampling,
        )
    with storage_errors(folder), _rust_errors(), quietly():
        folder.mkdir(parents=True, exist_ok=True)
        # Names as in the model: some families' older ones could not be told from a ledger's.
        model.save_pretrained(folder, save_original_format=False)
        segments = getattr(model.config, "type_vocab_size", 0) > 1
        words.fast_tokenizer(context_length, segments=segments).save_pretrained(folder)


def longest_text(model: PreTrainedModel) -> int | None:
    """The tokens that a model can look at; None where its positions have no end, as T5's."""
    positions: int | None = getattr(model.config, "max_position_embeddings", None)
    for name, module in model.named_modules():
        if positions and name.endswith("position_embeddings"):
            before = getattr(module, "padding_idx", None)  # RoBERTa's begin behind that of padding
            return positions if before is None else positions - int(before) - 1
    return positions


@contextmanager
def _rust_errors() -> Iterator[None]:
    """Turn what safetensors and tokenizers raise for a failed write into an `OSError`."""
    try:
        yield
    except Exception as error:  # tokenizers raises plain Exception
        if found := re.search(r"\(os error (\d+)\)", str(error)):
            number = int(found[1])
            raise OSError(number, os.strerror(number)) from error
        raise
