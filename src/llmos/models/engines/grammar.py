"""Text that fits a JSON schema: at each place only tokens that can still lead to such a text.

By llguidance, the library behind OpenAI's structured outputs; it also serves llama.cpp and vLLM.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from llmos.errors import UsageError
from llmos.models.engines.engine import UnsupportedError
from llmos.models.vocabulary import Vocabulary


class Grammars:
    """Makes guides for one vocabulary. `size`: the logits of the model, V."""

    def __init__(self, words: Vocabulary, size: int) -> None:
        try:
            from llguidance import LLTokenizer
        except ImportError as error:
            raise UnsupportedError(
                "a JSON schema needs the package llguidance: pip install 'llmos[serve]'"
            ) from error
        self._size = size
        self._words: Any = LLTokenizer(words.tokenizer.to_str(), n_vocab=size, eos_token=words.end)

    def guide(self, schema: Mapping[str, Any]) -> JSONGuide:
        """A guide at its beginning. Raises `UsageError` for a schema that cannot be followed."""
        from llguidance import LLMatcher

        try:
            grammar = LLMatcher.grammar_from_json_schema(
                json.dumps(schema), defaults={"whitespace_flexible": False}
            )
        except ValueError as error:
            raise UsageError(f"the JSON schema cannot be read ({error}): mend it") from error
        matcher = LLMatcher(self._words, grammar, log_level=0)
        if matcher.is_error():
            reason = " ".join(matcher.get_error().split())[:300]
            raise UsageError(f"the JSON schema cannot be followed ({reason}): simplify it")
        return JSONGuide(matcher, self._size)


class JSONGuide:
    """See `sampling.Guide`."""

    def __init__(self, matcher: Any, size: int) -> None:
        self._matcher = matcher
        self._bits = np.zeros((size + 31) // 32, np.int32)

    def allow(self, logits: torch.Tensor) -> None:
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        allowed = np.unpackbits(self._bits.view(np.uint8), bitorder="little")[: len(logits)]
        if allowed.any():
            logits.masked_fill_(torch.from_numpy(allowed == 0), float("-inf"))

    def take(self, token: int) -> None:
        self._matcher.consume_token(token)
