"""A tokenizer together with the ids of the tokens that have a part to play.

A new model's tokenizer is byte-level BPE unless its recipe says otherwise, whatever its family, so
that bits per byte are known and one tokenizer serves every language; the family only decides which
special tokens it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, processors

from llmos.errors import ModelError
from llmos.models.bpe import train_bpe
from llmos.models.tokenizer import END_OF_TEXT, SPECIAL_TOKENS, token_byte_lengths
from llmos.models.tokenizers import unigram, wordpiece
from llmos.models.tokenizers.mixing import mix_counts
from llmos.recipe import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
"""Who speaks in a chat; each message is its role's token, its text and the end of text."""
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{{ eos_token }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
SENTINELS = tuple(f"<extra_id_{number}>" for number in range(100))
"""T5's names for the spans that were taken out."""
BERT_TOKENS = ("[PAD]", "[CLS]", "[SEP]", "[MASK]")
T5_TOKENS = ("<pad>", "</s>", *SENTINELS)

ALGORITHMS = {
    "byte_bpe": train_bpe,
    "unigram": unigram.train_unigram,
    "wordpiece": wordpiece.train_wordpiece,
}
UNKNOWN = {"unigram": (2, unigram.UNKNOWN), "wordpiece": (1, wordpiece.UNKNOWN)}
"""What stands for text that a vocabulary does not cover, and its id: those of T5 and BERT."""

_NAMES = {
    "end": (END_OF_TEXT, "</s>", "[SEP]", "<|end_of_text|>", "<|im_end|>", "<eos>"),
    "pad": ("<|pad|>", "<pad>", "[PAD]"),
    "begin": (END_OF_TEXT, "[CLS]", "<s>", "<|begin_of_text|>", "<bos>"),
    "separator": ("[SEP]", "</s>"),
    "mask": ("[MASK]", "<mask>"),
    "unknown": ("[UNK]", "<unk>"),
}
"""The names by which usual tokenizers call each part, in the order in which they are looked for."""


def special_tokens(recipe: Recipe) -> tuple[str, ...]:
    """The special tokens of a new model's tokenizer, which get the first ids."""
    by_family = {"bert": BERT_TOKENS, "t5": T5_TOKENS}
    tokens = [*by_family.get(recipe.model.family, SPECIAL_TOKENS)]
    if recipe.tokenizer.algorithm in UNKNOWN:
        tokens.insert(*UNKNOWN[recipe.tokenizer.algorithm])
    return (*tokens, *ROLES) if recipe.objective.name == "instruction" else tuple(tokens)


def train_joint_tokenizer(members: Sequence[Mapping[str, int]], recipe: Recipe) -> Tokenizer:
    """The tokenizer of a new model, from the piece counts of each member.

    They are weighted by `tokenizer.temperature`. Raises like `train_tokenizer`.
    """
    return train_tokenizer(mix_counts(members, recipe.tokenizer.temperature), recipe)


def train_tokenizer(counts: Mapping[str, int], recipe: Recipe) -> Tokenizer:
    """The tokenizer of a new model, from the summed piece counts of all members.

    Raises `DataError` where the size does not fit the text (see `bpe.train_bpe`).
    """
    train = ALGORITHMS[recipe.tokenizer.algorithm]
    tokenizer = train(counts, recipe.tokenizer.vocabulary_size, special_tokens(recipe))
    family = recipe.model.family
    if family == "bert":  # [CLS] a [SEP] b [SEP], as BERT reads one text or two
        ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
        )
    elif family == "t5":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A </s>",
            pair="$A </s> $B </s>",
            special_tokens=[("</s>", tokenizer.token_to_id("</s>"))],
        )
    return tokenizer


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer and its special ids. Ids that a tokenizer lacks are None.

    end: ends a text; pad: fills a row; begin: begins a text (BERT's [CLS]); separator, mask:
    BERT's; unknown: what the vocabulary does not cover; sentinels: T5's, in their order; roles: id
    by role token.
    """

    tokenizer: Tokenizer
    end: int
    pad: int
    begin: int | None
    separator: int | None
    mask: int | None
    unknown: int | None
    sentinels: tuple[int, ...]
    roles: Mapping[str, int]

    @classmethod
    def of(cls, tokenizer: Tokenizer, config: Mapping[str, Any] | None = None) -> Vocabulary:
        """The vocabulary of a tokenizer, its parts known by the usual names.

        `config` is the content of a model's config.json, whose eos, bos and pad ids go first.
        Raises `ModelError` for a tokenizer without a token that ends a text.
        """
        # A text may spell a special token; it must not become one.
        tokenizer.encode_special_tokens = True
        found: dict[str, int | None] = {}
        for part, names in _NAMES.items():
            ids = (tokenizer.token_to_id(name) for name in names)
            found[part] = next((number for number in ids if number is not None), None)
        for part, key in (("end", "eos"), ("begin", "bos"), ("pad", "pad")):
            number = (config or {}).get(f"{key}_token_id")
            if isinstance(number, list):  # some models may end a text in several ways
                number = number[0]
            # A model may state ids that its tokenizer never had, such as T5's or BERT's defaults.
            if number is not None and number >= 0 and tokenizer.id_to_token(number) is not None:
                found[part] = int(number)
        end, pad = found.pop("end"), found.pop("pad")
        if end is None:
            raise ModelError(
                "the tokenizer has no token that ends a text (such as "
                f"{END_OF_TEXT}, </s> or [SEP]): add one, or choose another base"
            )
        sentinels = (tokenizer.token_to_id(name) for name in SENTINELS)
        roles = {role: tokenizer.token_to_id(role) for role in ROLES}
        return cls(
            tokenizer=tokenizer,
            end=end,
            pad=end if pad is None else pad,
            sentinels=tuple(number for number in sentinels if number is not None),
            roles={role: number for role, number in roles.items() if number is not None},
            **found,
        )

    @property
    def size(self) -> int:
        return int(self.tokenizer.get_vocab_size())

    def require(self, part: str) -> int:
        """The id of `begin`, `separator` or `mask`. Raises `ModelError` where it is missing."""
        number = getattr(self, part)
        if number is None:
            raise ModelError(
                f"the tokenizer has no {part} token ({' or '.join(_NAMES[part])}): this objective "
                "needs one; choose another base"
            )
        return int(number)

    def encode(self, text: str) -> list[int]:
        """The text's own tokens, without special ones."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """As `encode`, many at once."""
        encode: Callable[..., Any] = self.tokenizer.encode_batch_fast
        return [list(e.ids) for e in encode(list(texts), add_special_tokens=False)]

    def encode_with_bytes(self, text: str) -> tuple[list[int], npt.NDArray[np.int64]]:
        """The text's own tokens, and how many of its UTF-8 bytes each of them stands for.

        A token that is a part of a character has a part of its bytes where the tokenizer is
        byte-level; elsewhere the bytes from the end of the token before to its own end. They add
        up to the bytes of the text, unless it has no token at all.
        """
        if self._byte_lengths is not None:
            tokens = self.encode(text)
            lengths = self._byte_lengths[tokens].astype(np.int64)
            # Some byte-level tokenizers change the text first: compose accents, add a blank.
            if lengths.sum() == len(text.encode()):
                return tokens, lengths
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        size_until = np.cumsum([0, *(len(character.encode()) for character in text)])
        ends = np.maximum.accumulate([0, *(end for _, end in encoding.offsets)])
        ends[-1] = len(text) if len(ends) > 1 else 0  # blanks at the end belong to the last token
        return list(encoding.ids), np.diff(size_until[ends]).astype(np.int64)

    def fast_tokenizer(
        self, context_length: int, *, segments: bool = False
    ) -> PreTrainedTokenizerFast:
        """The tokenizer as transformers has it; what it saves loads anywhere without llmos.

        `context_length` is in tokens; with `segments` it tells the first text of a pair from the
        second (`token_type_ids`), as BERT reads them. Decoding is lossless. With role tokens it
        has a chat template that writes each message as `objectives.instruction` trains on it.
        """
        from transformers import PreTrainedTokenizerFast

        name = self.tokenizer.id_to_token
        parts = {
            "bos_token": self.begin,
            "eos_token": self.end,
            "pad_token": self.pad,
            "mask_token": self.mask,
            "unk_token": self.unknown,
        }
        if self.mask is not None:  # as BERT calls them
            parts |= {"cls_token": self.begin, "sep_token": self.separator}
        made = PreTrainedTokenizerFast(
            tokenizer_object=self.tokenizer,
            **{part: name(number) for part, number in parts.items() if number is not None},
            model_max_length=context_length,
            clean_up_tokenization_spaces=False,
            name_or_path=None,  # else over 100,000 tokens it asks a hub whether this is a Mistral
            model_input_names=[
                "input_ids",
                *(["token_type_ids"] if segments else []),
                "attention_mask",
            ],
        )
        if self.roles:
            made.chat_template = CHAT_TEMPLATE
        return made

    @cached_property
    def _byte_lengths(self) -> npt.NDArray[np.int32] | None:
        """Bytes of each token, (vocabulary,); None for a tokenizer that is not byte-level."""
        try:
            return token_byte_lengths(self.tokenizer)
        except ModelError:
            return None
