"""BERT's WordPiece, trained from piece counts without any text.

Devlin et al. (2019, arXiv:1810.04805) published the vocabulary, not its trainer; what is learned
here is what `WordPieceTrainer` of Hugging Face tokenizers learns: byte-pair merges over characters,
those inside a word marked ##. That trainer numbers the ## characters in an order that changes from
process to process, and breaks ties by these numbers; here they are sorted, so that equal counts
give equal bytes.

Case, accents and joiners stay as they are. Characters of scripts without spaces are words of
their own, as BERT has it for Chinese. White space is lost, and a word with a character that the
vocabulary does not cover becomes [UNK]: a tokenizer for reading (BERT), not for writing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from llmos.errors import DataError
from llmos.models.bpe import learn_merges, require_supported
from llmos.models.pieces import UNSPACED_CLASS, is_unspaced, split_pattern
from llmos.models.tokenizers.characters import covered_characters

UNKNOWN = "[UNK]"
CONTINUED = "##"
LONGEST = 100
"""Characters of a word beyond which it is [UNK]: BERT's max_input_chars_per_word."""


def train_wordpiece(
    counts: Mapping[str, int], vocabulary_size: int, special_tokens: Sequence[str]
) -> Tokenizer:
    """Train a tokenizer of exactly `vocabulary_size` tokens; `special_tokens` hold `UNKNOWN`.

    Ids: the special tokens, the characters by code point, those that go on a word, then one per
    merge. The result does not depend on the order of `counts`. Raises `DataError` when the size
    is too small for the characters or more than the pieces support.
    """
    whole = _words(counts)
    characters = covered_characters(whole)
    covered = frozenset(characters)
    kept = [(word, count) for word, count in whole.items() if covered.issuperset(word)]
    inside = sorted({CONTINUED + character for word, _ in kept for character in word[1:]})
    tokens = list(dict.fromkeys([*special_tokens, *characters, *inside]))
    if vocabulary_size < len(tokens):
        raise DataError(
            f"vocabulary_size {vocabulary_size} is too small for the {len(tokens)} special tokens "
            "and characters of this text: raise it, or use byte_bpe, which needs 256 bytes only"
        )
    number = {token: number for number, token in enumerate(tokens)}
    words = [[number[w[0]], *(number[CONTINUED + c] for c in w[1:])] for w, _ in kept]
    learn_merges(words, [count for _, count in kept], vocabulary_size, tokens, _join)
    require_supported(len(tokens), vocabulary_size)
    return _assemble({token: number for number, token in enumerate(tokens)}, special_tokens)


def _words(counts: Mapping[str, int]) -> Counter[str]:
    """The words inside the pieces.

    Of a run of a script without spaces each character is counted by itself already (see
    `pieces.training_pieces`), so the parts of the run are left out.
    """
    inner = pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    for piece, count in counts.items():
        if count < 1 or (is_unspaced(piece) and len(piece) > 1):
            continue
        for word, _ in inner.pre_tokenize_str(piece):
            words[word] += count
    return words


def _join(left: str, right: str) -> str:
    return left + right.removeprefix(CONTINUED)


@cache
def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    single = pre_tokenizers.Split(Regex(UNSPACED_CLASS), "isolated")
    return pre_tokenizers.Sequence([split_pattern(), single, pre_tokenizers.BertPreTokenizer()])


def _assemble(vocabulary: Mapping[str, int], special_tokens: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(
        models.WordPiece(
            vocab=dict(vocabulary),
            unk_token=UNKNOWN,
            max_input_chars_per_word=LONGEST,
            continuing_subword_prefix=CONTINUED,
        )
    )
    tokenizer.pre_tokenizer = _pre_tokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=CONTINUED, cleanup=False)
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in special_tokens]
    )
    return tokenizer
