"""Write a model folder in the Hugging Face layout: what `from_pretrained` loads without LLMOS."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokenizers import Tokenizer
from transformers import GenerationConfig
from transformers.utils import logging

from llmos.models.arrays import Vector, set_weights
from llmos.models.families import build_model
from llmos.models.tokenizer import as_fast_tokenizer
from llmos.recipe import Recipe
from llmos.storage import storage_errors


def write_model_folder(folder: Path, recipe: Recipe, weights: Vector, tokenizer: Tokenizer) -> None:
    """Save weights (safetensors), configuration, tokenizer and generation defaults to `folder`.

    Raises `StorageError` when the disk is full or the folder cannot be written.
    """
    model = build_model(recipe.model, tokenizer, recipe.seed)
    set_weights(model, weights)
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=0.7,
        top_k=50,
        max_new_tokens=min(120, recipe.model.context_length - 1),
        bos_token_id=model.config.eos_token_id,
        eos_token_id=model.config.eos_token_id,
        pad_token_id=model.config.pad_token_id,
    )
    with storage_errors(folder), _rust_errors(), _without_progress_bar():
        folder.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(folder)
        as_fast_tokenizer(tokenizer, recipe.model.context_length).save_pretrained(folder)


@contextmanager
def _without_progress_bar() -> Iterator[None]:
    was_shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_shown:
            logging.enable_progress_bar()


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
