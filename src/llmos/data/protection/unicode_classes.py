"""Expressions for RE2 in which \\w, \\d and \\s mean letters, digits and blanks of any script.

RE2 takes time in proportion to the text whatever the expression is, so no text can hold up a
preparation; but its \\w, \\d, \\s and \\b know ASCII only, and would miss names silently.
"""

from __future__ import annotations

WORD = r"\p{L}\p{M}\p{N}_"
DIGIT = r"\p{Nd}"
SPACE = r"\t\n\v\f\r\x{1c}-\x{20}\x{85}\p{Z}"
_CLASSES = {"w": WORD, "d": DIGIT, "s": SPACE}


def for_any_script(expression: str) -> str:
    """The expression with its classes written out.

    Raises `ValueError` for what cannot be: \\b, \\B, \\Q, and \\W, \\D, \\S within brackets.
    """
    out: list[str] = []
    inside = False
    at = 0
    while at < len(expression):
        pair = expression[at : at + 2]
        if pair[0] == "\\":
            out.append(_escape(pair, inside))
            at += 2
        elif inside and pair == "[:":
            end = expression.find(":]", at) + 2
            if end < 2:
                raise ValueError("[: without :]")
            out.append(expression[at:end])
            at = end
        elif not inside and pair[0] == "[":
            # A bracket that comes first in a class stands for itself.
            size = 1 + (pair == "[^")
            size += expression[at + size : at + size + 1] == "]"
            out.append(expression[at : at + size])
            inside = True
            at += size
        else:
            inside = inside and pair[0] != "]"
            out.append(pair[0])
            at += 1
    return "".join(out)


def _escape(pair: str, inside: bool) -> str:
    letter = pair[1:]
    if letter in _CLASSES:
        return _CLASSES[letter] if inside else f"[{_CLASSES[letter]}]"
    if letter.lower() in _CLASSES and letter:
        if inside:
            raise ValueError(f"{pair} within brackets: write the class it excludes, [^...]")
        return f"[^{_CLASSES[letter.lower()]}]"
    if letter in ("b", "B"):
        raise ValueError(f"{pair} knows ASCII letters only: write /.../w for whole words")
    if letter == "Q":
        raise ValueError(r"\Q: put a \ before each sign instead")
    return pair
