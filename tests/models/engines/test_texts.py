"""A text that grows by tokens, against the whole text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from llmos.models.bpe import byte_symbols
from llmos.models.engines.texts import Growing, cut

BYTES = Tokenizer(models.BPE({symbol: i for i, symbol in enumerate(byte_symbols())}, []))
"""A token for each byte, by the byte's value."""
BYTES.decoder = decoders.ByteLevel()
# As in a sentencepiece vocabulary: pieces, and bytes for the rest.
PIECES = Tokenizer(
    models.BPE(
        {"<unk>": 0, "▁a": 1, "b": 2, "▁": 3, **{f"<0x{i:02X}>": 4 + i for i in range(256)}},
        [],
        unk_token="<unk>",
        byte_fallback=True,
    )
)
PIECES.decoder = decoders.Sequence(
    [
        decoders.Replace("▁", " "),
        decoders.ByteFallback(),
        decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ]
)

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=20)


@given(_TEXT, st.lists(_TEXT.filter(bool), max_size=2))
def test_the_pieces_are_the_text_up_to_the_stop(text: str, stop: list[str]) -> None:
    growing = Growing(BYTES, stop)
    found = []
    for byte in text.encode():
        found.append(growing.add(byte))
        if growing.has_stopped:
            break
    wanted, is_cut = cut(text, stop)
    assert "".join(found) + growing.rest() == wanted
    assert growing.has_stopped == is_cut
    # A character is told whole: none of its bytes alone.
    assert not any("\ufffd" in piece for piece in found)


@given(st.lists(st.sampled_from(["▁a", "b", "▁"]) | _TEXT, max_size=6))
def test_pieces_and_bytes_of_other_vocabularies_are_what_they_decode_to(parts: list[str]) -> None:
    # A byte that ends no character would change those before it: only whole ones can be told.
    ids = [
        number
        for part in parts
        for number in (
            [PIECES.token_to_id(part)]
            if PIECES.token_to_id(part) is not None
            else [4 + byte for byte in part.encode()]
        )
    ]
    growing = Growing(PIECES, [])
    assert "".join(map(growing.add, ids)) + growing.rest() == PIECES.decode(ids)


@given(st.lists(st.integers(0, 255), max_size=12))
def test_broken_bytes_are_told_as_they_decode(ids: list[int]) -> None:
    growing = Growing(BYTES, [])
    assert "".join(map(growing.add, ids)) + growing.rest() == BYTES.decode(ids)
