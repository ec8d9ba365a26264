"""Chats as tokens: each message is its role's token, its text and the end of text.

The same ids as the chat template that `Vocabulary.fast_tokenizer` saves with a model, but that a
text which spells a special token stays a text here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmos.errors import ModelError
from llmos.models.vocabulary import ROLES, Vocabulary

Message = Mapping[str, str]
"""The role (system, user or assistant) and the content."""


def require_roles(words: Vocabulary) -> None:
    """Raise `ModelError` where the vocabulary lacks a role's token."""
    missing = [role for role in ROLES if role not in words.roles]
    if missing:
        raise ModelError(
            f"the tokenizer has no token {', '.join(missing)}, which marks who speaks: train a new "
            "tokenizer with the objective instruction, or add such tokens to the base"
        )


def message_tokens(words: Vocabulary, message: Message) -> tuple[list[int], list[int]]:
    """The ids of one message, from its role's token to the end of text.

    And how many UTF-8 bytes of the content each of them stands for.
    """
    role = words.roles[f"<|{message['role']}|>"]
    tokens, sizes = words.encode_with_bytes(message["content"])
    return [role, *tokens, words.end], [0, *sizes.tolist(), 0]


def prompt_tokens(words: Vocabulary, messages: Sequence[Message]) -> list[int]:
    """The ids that ask for an answer to `messages`: all of them and the assistant's token.

    Raises `ModelError` where the vocabulary lacks a role's token.
    """
    require_roles(words)
    ids = [number for message in messages for number in message_tokens(words, message)[0]]
    return [*ids, words.roles["<|assistant|>"]]
