"""Lines: which are compared, and taking them out."""

from __future__ import annotations

from llmos.data.dedup.lines import LEAST, line_hashes, without_lines


def test_equal_lines_have_equal_hashes_whatever_the_spaces_at_their_ends() -> None:
    once = line_hashes("All rights reserved.\nshort\n\n")
    assert len(once) == 1
    assert once.tolist() == line_hashes("\tAll rights reserved.  \r\nAll rights reserved.").tolist()
    assert once.tolist() != line_hashes("all rights reserved.").tolist()


def test_short_lines_are_left_alone() -> None:
    assert len(line_hashes("x" * (LEAST - 1))) == 0
    assert len(line_hashes("x" * LEAST)) == 1
    gone = set(line_hashes("a line to remove").tolist())
    text = "}\n\na line to remove\n  a line to remove\n}\nkept as it is "
    assert without_lines(text, gone) == "}\n\n}\nkept as it is "
    assert without_lines(text, set()) == text
    assert without_lines("a line to remove", gone) == ""
