"""A text that grows by tokens, against the whole text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmos.models.engines.texts import Growing, cut


def decode(ids: object) -> str:
    return bytes(ids).decode("utf-8", "replace")  # type: ignore[call-overload, no-any-return]


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=20)


@given(_TEXT, st.lists(_TEXT.filter(bool), max_size=2))
def test_the_pieces_are_the_text_up_to_the_stop(text: str, stop: list[str]) -> None:
    growing = Growing(decode, stop)
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
