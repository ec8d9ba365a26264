"""Texts that are submitted to a scheduler, waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue

from llmos.errors import ModelError
from llmos.models.engines.engine import Piece, Request
from llmos.models.engines.scheduler import Deliver, Text

Submit = Callable[[Request, Deliver], Text]
_AT_ONCE = 256
"""Texts that one call has waiting: fewer than may wait."""
_Pieces = SimpleQueue[Piece | ModelError]


def streamed(submit: Submit, request: Request) -> Iterator[Piece]:
    """The pieces of one text, as they come; closing the iterator ends the writing."""
    pieces: _Pieces = SimpleQueue()
    text = submit(request, pieces.put)
    try:
        yield from _until_finished(pieces)
    finally:
        text.cancel()


def written(submit: Submit, requests: Sequence[Request]) -> list[Piece]:
    """The texts of many requests, all of which are begun before the first is waited for."""
    found: list[Piece] = []
    for start in range(0, len(requests), _AT_ONCE):
        begun: list[_Pieces] = []
        for request in requests[start : start + _AT_ONCE]:
            begun.append(SimpleQueue())
            submit(request, begun[-1].put)
        found += [joined(list(_until_finished(pieces))) for pieces in begun]
    return found


def joined(pieces: Sequence[Piece]) -> Piece:
    """The pieces of a whole text as one."""
    last = pieces[-1]
    return Piece(
        "".join(piece.text for piece in pieces),
        tuple(told for piece in pieces for told in piece.logprobs),
        last.finish,
        last.prompt_tokens,
        last.new_tokens,
    )


def _until_finished(pieces: _Pieces) -> Iterator[Piece]:
    """To the last one. Raises what comes in the place of a piece."""
    while True:
        piece = pieces.get()
        if isinstance(piece, ModelError):
            raise piece
        yield piece
        if piece.finish:
            return
