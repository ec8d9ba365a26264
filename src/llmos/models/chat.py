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


def message_tokens(words: Vocabulary, role: str, content: Sequence[int]) -> list[int]:
    """The ids of a message whose content has these ids."""
    return [words.roles[f"<|{role}|>"], *content, words.end]


def prompt_tokens(words: Vocabulary, messages: Sequence[Message]) -> list[int]:
    """The ids that ask for an answer to `messages`: all of them and the assistant's token.

    Raises `ModelError` where the vocabulary lacks a role's token.
    """
    require_roles(words)
    ids: list[int] = []
    for message in messages:
        ids += message_tokens(words, message["role"], words.encode(message["content"]))
    return [*ids, words.roles["<|assistant|>"]]
