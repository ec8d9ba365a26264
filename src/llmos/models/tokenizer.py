"""One tokenizer for all members: from counts to a file that every library loads.

    counts = count_pieces(texts)                              # at each member
    sent = counts_to_bytes(disclose(counts))                  # all that leaves home
    tokenizer = train_bpe(add_counts(received), 32_000, SPECIAL_TOKENS)   # at the coordinator

See `pieces` for how text is cut, `disclosure` for what leaves home, `bpe` for training. Text that
spells a special token encodes to it; set `tokenizer.encode_special_tokens = True` before encoding
text that must not be able to end a document.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from llmos.errors import ModelError
from llmos.models.bpe import assemble, byte_symbols, check_vocabulary, require_supported
from llmos.models.pieces import byte_level, iterate_training_pieces

END_OF_TEXT = "<|endoftext|>"
PAD = "<|pad|>"
SPECIAL_TOKENS = (END_OF_TEXT, PAD)
"""End of text (also the beginning of the next) and padding: ids 0 and 1."""


def train_central(
    texts: Iterable[str], vocabulary_size: int, special_tokens: Sequence[str] = SPECIAL_TOKENS
) -> Tokenizer:
    """Train on all texts in one place with Hugging Face's own trainer, over the same pieces.

    Equal, byte for byte, to `train_bpe` over all members' counts at threshold 0. Raises like it.
    """
    check_vocabulary(vocabulary_size, special_tokens)
    model = models.BPE()
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = byte_level()  # the pieces are cut already
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=0,
        special_tokens=list(special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(iterate_training_pieces(texts), trainer)
    require_supported(tokenizer.get_vocab_size(), vocabulary_size)
    return assemble(tokenizer.model, special_tokens)


def tokenizer_to_bytes(tokenizer: Tokenizer) -> bytes:
    """The bytes of `tokenizer.json`: equal tokenizers give equal bytes, so one hash.

    The same bytes as the file that `Vocabulary.fast_tokenizer(...).save_pretrained` writes.
    """
    return str(tokenizer.to_str(pretty=True)).encode()


def tokenizer_from_bytes(data: bytes, source: str = "tokenizer.json") -> Tokenizer:
    """Read what the file `source` holds. Raises `ModelError` where it is no tokenizer."""
    try:
        return Tokenizer.from_str(data.decode())
    except Exception as error:  # the binding raises plain Exception
        raise ModelError(
            f"{source} holds no tokenizer ({error}): fetch the file again or train a new one"
        ) from error


def token_byte_lengths(tokenizer: Tokenizer) -> NDArray[np.int32]:
    """UTF-8 bytes that each token stands for, `(vocabulary,)`; special tokens 0.

    The sum over a text's tokens is its size in bytes: the unit of bits per byte. Raises
    `ModelError` for a tokenizer that is not byte-level.
    """
    lengths = np.zeros(tokenizer.get_vocab_size(), dtype=np.int32)
    special = {t.content for t in tokenizer.get_added_tokens_decoder().values() if t.special}
    symbols = frozenset(byte_symbols())
    for token, identifier in tokenizer.get_vocab().items():
        if token in special:
            continue
        if not symbols.issuperset(token):
            raise ModelError(
                f"token {token!r} is not made of bytes: bytes per token are known for byte-level "
                "tokenizers only"
            )
        lengths[identifier] = len(token)
    return lengths


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of `token`. Raises `ModelError` where the tokenizer lacks it."""
    found = tokenizer.token_to_id(token)
    if found is None:
        raise ModelError(f"the tokenizer lacks {token}: train it with the special tokens of llmos")
    return found
