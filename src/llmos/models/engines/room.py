"""How much a model can still write behind a prompt. No torch."""

from __future__ import annotations

from llmos.errors import UsageError
from llmos.models.engines.engine import Decoding, Kind


def room_behind(prompt_tokens: int, context_length: int) -> int:
    """The tokens that are left of the context, at least 1.

    Raises `UsageError` for a prompt that fills it.
    """
    left = context_length - prompt_tokens
    if left < 1:
        raise UsageError(
            f"the prompt has {prompt_tokens} tokens, the model's context {context_length}: "
            "shorten the prompt"
        )
    return left


def new_tokens(kind: Kind, prompt_tokens: int, context_length: int, decoding: Decoding) -> int:
    """How many new tokens there may be. Raises `UsageError` for a prompt that fills the context."""
    if decoding.max_new_tokens < 1:
        raise UsageError(f"max_new_tokens {decoding.max_new_tokens} is too few: use 1 or more")
    if kind == "encoder-decoder":
        return decoding.max_new_tokens
    return min(decoding.max_new_tokens, room_behind(prompt_tokens, context_length))
