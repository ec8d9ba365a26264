"""How a model folder's model writes: many texts at once, or one of them as it appears."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from llmos.errors import ModelError, UsageError
from llmos.models.engines.batches import padded
from llmos.models.engines.engine import (
    Decoding,
    Piece,
    Request,
    TokenLogprob,
    UnsupportedError,
)
from llmos.models.engines.loading import Loaded
from llmos.models.engines.room import new_tokens
from llmos.models.engines.texts import Growing, cut
from llmos.models.framing import document_tokens, source_tokens


def encode(loaded: Loaded, request: Request) -> list[int]:
    """The ids that the model reads. Raises `UnsupportedError` for what it cannot do."""
    decoding = request.decoding
    if loaded.kind == "encoder":
        raise UnsupportedError(f"{loaded.folder} is an encoder, which writes no text")
    for name in ("json_schema", "watermark", "frequency_penalty", "presence_penalty"):
        if getattr(decoding, name):
            raise UnsupportedError(f"this engine has no {name}: use the server's")
    if decoding.temperature and decoding.num_beams > 1:
        raise UsageError("beams and sampling do not go together: leave one of them out")
    if request.messages:
        return loaded.chat_tokens(request.messages)
    if not isinstance(request.prompt, str):
        return list(request.prompt)
    lay = document_tokens if loaded.kind == "decoder" else source_tokens
    return lay(loaded.words, request.prompt)


def room(loaded: Loaded, ids: Sequence[int], decoding: Decoding) -> int:
    """How many new tokens there may be behind a prompt (see `new_tokens`)."""
    return new_tokens(loaded.kind, len(ids), loaded.context_length, decoding)


def write(loaded: Loaded, requests: Sequence[Request]) -> list[Piece]:
    """The texts of many requests, in their order; each as it would be alone.

    What is sampled is written one by one, so that it depends on its own seed alone.
    """
    encoded = [encode(loaded, request) for request in requests]
    groups: dict[Any, list[int]] = defaultdict(list)
    for at, (request, ids) in enumerate(zip(requests, encoded, strict=True)):
        is_alone = at if request.decoding.temperature else -1
        limit = room(loaded, ids, request.decoding)
        groups[(repr(request.decoding), limit, is_alone)].append(at)
    found: dict[int, Piece] = {}
    for (_, limit, _), members in groups.items():
        decoding = requests[members[0]].decoding
        rows = [encoded[at] for at in members]
        is_left = loaded.kind == "decoder"
        for batch in padded(rows, loaded.words.pad, loaded.model.device, left=is_left):
            new = _generate(loaded, batch.ids, batch.mask, decoding, limit)
            for row, ids in zip(batch.rows, new, strict=True):
                found[members[row]] = _piece(loaded, rows[row], ids, decoding)
    return [found[at] for at in range(len(requests))]


@torch.no_grad()
def _generate(
    loaded: Loaded,
    ids: torch.Tensor,
    mask: torch.Tensor,
    decoding: Decoding,
    limit: int,
    *,
    is_closed: Callable[[], bool] = lambda: False,
    streamer: BaseStreamer | None = None,
) -> list[list[int]]:
    """The new ids of each row, (B, T), up to its end, which is kept as the mark of having ended."""
    model, words = loaded.model, loaded.words
    is_decoder = loaded.kind == "decoder"
    sampling: dict[str, Any] = {"do_sample": False}
    if decoding.temperature:
        sampling = {
            "do_sample": True,
            "temperature": float(decoding.temperature),
            "top_p": decoding.top_p,
            "top_k": decoding.top_k,
        }
    settings = GenerationConfig(
        num_beams=decoding.num_beams,
        repetition_penalty=decoding.repetition_penalty,
        max_new_tokens=limit,
        eos_token_id=sorted(loaded.ends),
        pad_token_id=words.pad,
        decoder_start_token_id=getattr(model.config, "decoder_start_token_id", None),
        **sampling,
    )
    first = ids.shape[1] if is_decoder else 1
    stopping = _Stopping(words.tokenizer.decode_batch, decoding.stop, first, is_closed)
    with torch.random.fork_rng(enabled=bool(decoding.temperature)):
        if decoding.temperature:
            torch.seed() if decoding.seed is None else torch.manual_seed(decoding.seed)
        generate: Any = model.generate
        found = generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=settings,
            stopping_criteria=StoppingCriteriaList([stopping]),
            streamer=streamer,
        )
    ends = loaded.ends | {words.pad}  # a row that is done is filled up
    return [_until(row, ends) for row in found[:, first:].tolist()]


def _until(ids: list[int], ends: frozenset[int]) -> list[int]:
    """The ids up to the first end, with it."""
    at = next((at for at, token in enumerate(ids) if token in ends), None)
    return ids if at is None else ids[: at + 1]


class _Stopping(StoppingCriteria):
    """Ends a row at a stop text, and all of them when the reader has gone."""

    def __init__(
        self,
        decode: Callable[..., list[str]],
        stop: Sequence[str],
        first: int,
        is_closed: Callable[[], bool],
    ) -> None:
        self._decode, self._stop, self._first, self._is_closed = decode, stop, first, is_closed

    def __call__(self, rows: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        if not self._stop or self._is_closed():
            return torch.full((len(rows),), self._is_closed(), device=rows.device)
        texts = self._decode(rows[:, self._first :].tolist(), skip_special_tokens=True)
        ended = [any(stop in text for stop in self._stop) for text in texts]
        return torch.tensor(ended, device=rows.device)


def _decode(loaded: Loaded, ids: Sequence[int]) -> str:
    return str(loaded.words.tokenizer.decode(list(ids), skip_special_tokens=True))


def _piece(loaded: Loaded, prompt: Sequence[int], new: list[int], decoding: Decoding) -> Piece:
    has_ended = bool(new) and new[-1] in loaded.ends | {loaded.words.pad}
    text, is_cut = cut(_decode(loaded, new), decoding.stop)
    logprobs: tuple[TokenLogprob, ...] = ()
    if decoding.logprobs is not None:
        kept = new[:-1] if has_ended else new
        if is_cut:
            kept = _spelling(loaded, kept, text)
        logprobs = _logprobs(loaded, prompt, kept, decoding.logprobs)
    finish = "stop" if has_ended or is_cut else "length"
    return Piece(text, logprobs, finish, len(prompt), len(new))  # type: ignore[arg-type]


def _spelling(loaded: Loaded, ids: list[int], text: str) -> list[int]:
    """As many of the first ids as it takes to spell `text`."""
    count = next(n for n in range(len(ids) + 1) if len(_decode(loaded, ids[:n])) >= len(text))
    return ids[:count]


@torch.no_grad()
def _logprobs(
    loaded: Loaded, prompt: Sequence[int], new: Sequence[int], top: int
) -> tuple[TokenLogprob, ...]:
    """Of the model itself: before temperature, penalties and the like."""
    if not new:
        return ()
    model = loaded.model

    def as_tensor(ids: Sequence[int]) -> torch.Tensor:
        return torch.tensor([list(ids)], device=model.device)

    if loaded.kind == "decoder":
        logits = model(input_ids=as_tensor([*prompt, *new[:-1]]), use_cache=False).logits
        logits = logits[0, len(prompt) - 1 :]
    else:
        start = getattr(model.config, "decoder_start_token_id", None)
        begun = [loaded.words.pad if start is None else start, *new[:-1]]
        found = model(input_ids=as_tensor(prompt), decoder_input_ids=as_tensor(begun))
        logits = found.logits[0]
    values = logits.float().log_softmax(-1)  # (T, V)
    best = values.topk(min(top, values.shape[1]), dim=-1)
    of_new = values[torch.arange(len(new)), torch.tensor(list(new))].tolist()
    rows = zip(new, of_new, best.values.tolist(), best.indices.tolist(), strict=True)
    return tuple(
        TokenLogprob(
            _decode(loaded, [token]),
            value,
            tuple((_decode(loaded, [i]), v) for v, i in zip(likely, ids, strict=True)),
        )
        for token, value, likely, ids in rows
    )


class _Tokens(BaseStreamer):
    """Hands each new token to the reader; the first call brings the prompt."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[int | BaseException | None] = SimpleQueue()
        self._is_prompt = True

    def put(self, value: torch.Tensor) -> None:
        if not self._is_prompt:
            for token in value.reshape(-1).tolist():
                self.queue.put(token)
        self._is_prompt = False

    def end(self) -> None:
        self.queue.put(None)


def stream(loaded: Loaded, request: Request) -> Iterator[Piece]:
    """The text of one request as it is written; with beams or log-probabilities all at once."""
    decoding = request.decoding
    if decoding.num_beams > 1 or decoding.logprobs is not None:
        yield from write(loaded, [request])
        return
    prompt = encode(loaded, request)
    limit = room(loaded, prompt, decoding)
    tokens, closed = _Tokens(), Event()

    def work() -> None:
        try:
            ids = torch.tensor([prompt], device=loaded.model.device)
            mask = torch.ones_like(ids)
            _generate(loaded, ids, mask, decoding, limit, is_closed=closed.is_set, streamer=tokens)
        except BaseException as error:  # handed to the reader below
            tokens.queue.put(error)

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        yield from _read(loaded, tokens, len(prompt), decoding)
    finally:
        closed.set()
        thread.join()


def _read(
    loaded: Loaded, tokens: _Tokens, prompt_tokens: int, decoding: Decoding
) -> Iterator[Piece]:
    """Pieces as their characters are whole and can begin no stop text any more."""
    growing = Growing(loaded.words.tokenizer, decoding.stop)
    while (item := tokens.queue.get()) is not None:
        if isinstance(item, BaseException):
            raise ModelError(f"generation failed: {item}") from item
        if new := growing.add(item):
            yield Piece(new)
    last = _piece(loaded, [], growing.ids, decoding)
    yield Piece(growing.rest(), (), last.finish, prompt_tokens, last.new_tokens)
