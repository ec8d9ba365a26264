"""Many texts from a model at once: translations of sources, answers to prompts.

Greedy or beam search, so that the same sources give the same texts. For one text piece by piece,
and for sampling, see `generate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig

from llmos.errors import UsageError
from llmos.models.framing import document_tokens, source_tokens
from llmos.models.vocabulary import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@torch.no_grad()
def generate_batch(
    model: PreTrainedModel,
    words: Vocabulary,
    sources: Sequence[str | Sequence[int]],
    *,
    max_new_tokens: int,
    num_beams: int = 1,
    batch_size: int = 32,
) -> list[str]:
    """What the model writes for each source, in their order; each as it would be alone.

    A source is a text or its ids (such as `chat.prompt_tokens`). An encoder-decoder's text gets the
    special tokens of its tokenizer and ends with an end of text; a decoder's text begins as a new
    document and is continued. Raises `UsageError` for a prompt that leaves a decoder no room for
    `max_new_tokens`.
    """
    is_encoder_decoder = model.config.is_encoder_decoder
    encode = source_tokens if is_encoder_decoder else document_tokens
    encoded = [encode(words, s) if isinstance(s, str) else list(s) for s in sources]
    if not is_encoder_decoder:
        _require_room(model, encoded, max_new_tokens)
    # The longest first: if memory is short, that shows at once.
    order = sorted(range(len(encoded)), key=lambda index: -len(encoded[index]))
    written: dict[int, str] = {}
    was_training = model.training
    model.eval()
    try:
        for at in range(0, len(order), batch_size):
            some = order[at : at + batch_size]
            rows = _write(model, words, [encoded[i] for i in some], max_new_tokens, num_beams)
            written.update(zip(some, rows, strict=True))
    finally:
        model.train(was_training)
    return [written[index] for index in range(len(encoded))]


def _require_room(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], max_new_tokens: int
) -> None:
    context = int(getattr(model.config, "max_position_embeddings", 0) or 0)
    longest = max(map(len, prompts), default=0)
    if context and longest + max_new_tokens > context:
        raise UsageError(
            f"a prompt of {longest} tokens and {max_new_tokens} new ones do not fit the model's "
            f"context of {context}: shorten the prompt or lower max_new_tokens"
        )


def _write(
    model: PreTrainedModel,
    words: Vocabulary,
    rows: Sequence[Sequence[int]],
    max_new_tokens: int,
    num_beams: int,
) -> list[str]:
    """The new texts of one batch. A decoder's rows are padded at the left, to end together."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), words.pad)
    mask = torch.zeros_like(ids)
    is_encoder_decoder = model.config.is_encoder_decoder
    for at, row in enumerate(rows):
        place = slice(len(row)) if is_encoder_decoder else slice(width - len(row), width)
        ids[at, place] = torch.tensor(row)
        mask[at, place] = 1
    settings = GenerationConfig(
        do_sample=False,
        num_beams=num_beams,
        max_new_tokens=max_new_tokens,
        eos_token_id=words.end,
        pad_token_id=words.pad,
        decoder_start_token_id=getattr(model.config, "decoder_start_token_id", None),
    )
    write: Any = model.generate
    found = write(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        generation_config=settings,
    )
    new = found[:, 1 if is_encoder_decoder else width :].tolist()
    texts = [row[: row.index(words.end)] if words.end in row else row for row in new]
    return list(words.tokenizer.decode_batch(texts, skip_special_tokens=True))
