"""The engine of the server: the model of a folder, which writes many texts at once, continuously.

As `local.LocalEngine`, but that requests of several threads share every step (see `scheduler`), and
that it knows penalties, JSON schemas and watermarks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from llmos.device import default_device
from llmos.errors import UsageError
from llmos.models.engines import reading, writing
from llmos.models.engines.adapters import Adapter, load_adapter
from llmos.models.engines.engine import Decoding, Piece, Request, TokenLogprob, UnsupportedError
from llmos.models.engines.grammar import Grammars
from llmos.models.engines.local import LocalEngine
from llmos.models.engines.networks import network_of
from llmos.models.engines.sampling import Sampler
from llmos.models.engines.scheduler import Deliver, Scheduler, Text
from llmos.models.engines.slots import DecoderSlots, Seq2SeqSlots, Slots
from llmos.models.engines.submitting import streamed, written
from llmos.models.engines.texts import token_starts
from llmos.models.framing import document_tokens, source_tokens
from llmos.models.watermark import watermark

Echoed = tuple[str, int, TokenLogprob | None]
"""A token of a prompt, where it begins (characters), and how likely it was; None: the first."""
Precision = Literal["auto", "fp32", "bf16"]
CACHE_BYTES = 2 << 30
"""Keys and values that all slots hold together at most, were each of them full."""


class TransformersEngine(LocalEngine):
    """Answers with the model in a folder; `close` ends its thread.

    `precision` is that in which a decoder writes: "auto" is bf16 where the processor computes in
    it. What is read rather than written (likelihoods, labels, vectors) is computed in float32.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        slots: int = 32,
        precision: Precision = "auto",
        waiting: int = 1024,
    ) -> None:
        super().__init__(folder)
        loaded = self._loaded
        self.precision: str = "fp32"
        self._scheduler: Scheduler | None = None
        self._slots: Slots | None = None
        if self.kind != "encoder":
            is_decoder = self.kind == "decoder"
            self._slots = (
                self._decoder_slots(slots, precision) if is_decoder else self._seq2seq_slots(slots)
            )
            self._scheduler = Scheduler(
                self._slots,
                loaded.words.tokenizer,
                loaded.ends,
                waiting=waiting,
            )

    def _decoder_slots(self, count: int, precision: Precision) -> Slots:
        dtype = torch.float32
        if precision == "bf16" or (precision == "auto" and _has_bf16()):
            dtype = torch.bfloat16
        network = network_of(self._loaded.model, dtype)
        self.precision = "bf16" if network.dtype == torch.bfloat16 else "fp32"
        layers, heads, width = network.sizes
        if self.precision == "bf16":  # the network has weights of its own
            self._loaded.forget_model()
        each = 2 * layers * heads * width * self.context_length * network.dtype.itemsize
        most = max(1, min(count, CACHE_BYTES // each))
        return DecoderSlots(network, most, self.context_length, torch.device(default_device()))

    def _seq2seq_slots(self, count: int) -> Slots:
        start = getattr(self._loaded.config, "decoder_start_token_id", None)
        return Seq2SeqSlots(
            self._loaded.model, count, self._loaded.words.pad if start is None else start
        )

    @property
    def running(self) -> int:
        """How many texts are being written."""
        return self._scheduler.running if self._scheduler else 0

    @property
    def waiting(self) -> int:
        """How many texts wait for a slot."""
        return self._scheduler.waiting if self._scheduler else 0

    def adapter(self, folder: Path) -> Adapter:
        """The adapter in a folder, for `submit`. Raises as `adapters.load_adapter`."""
        if not isinstance(self._slots, DecoderSlots):
            raise UnsupportedError(f"adapters are served over decoders, and {self.name} is none")
        return load_adapter(folder, self._loaded.model, self._slots.network)

    def submit(self, request: Request, deliver: Deliver, adapter: Adapter | None = None) -> Text:
        """Have a text written; its pieces go to `deliver`, which is called in another thread.

        Raises `UsageError` for what does not fit the model, `UnsupportedError` for what this
        engine cannot do, `BusyError` and `ClosedError`.
        """
        if self._scheduler is None:
            raise UnsupportedError(f"{self.name} is an encoder, which writes no text")
        if request.decoding.num_beams > 1:
            raise UnsupportedError("texts written with beams are not streamed: use write")
        check(request.decoding)
        prompt = self.prompt_tokens(request)
        text = Text(
            prompt,
            writing.room(self._loaded, prompt, request.decoding),
            self._sampler(request.decoding, prompt),
            deliver,
            adapter,
        )
        self._scheduler.submit(text)
        return text

    def stream(self, request: Request) -> Iterator[Piece]:
        if request.decoding.num_beams > 1:
            yield from self.write([request])
            return
        yield from streamed(self.submit, request)

    def write(self, requests: Sequence[Request]) -> list[Piece]:
        in_batches = [at for at, r in enumerate(requests) if self._is_for_batches(r.decoding)]
        found = dict(
            zip(in_batches, super().write([requests[at] for at in in_batches]), strict=True)
        )
        alone = [at for at in range(len(requests)) if at not in found]
        found |= zip(alone, written(self.submit, [requests[at] for at in alone]), strict=True)
        return [found[at] for at in range(len(requests))]

    def _is_for_batches(self, decoding: Decoding) -> bool:
        """Whether transformers' padded batches are the way, or the faster one."""
        if decoding.num_beams > 1:
            return True
        plain = Decoding(
            max_new_tokens=decoding.max_new_tokens,
            repetition_penalty=decoding.repetition_penalty,
            stop=decoding.stop,
            seed=decoding.seed,
        )
        return self.kind == "encoder-decoder" and decoding == plain

    def prompt_tokens(self, request: Request) -> list[int]:
        """The ids that the model reads."""
        if request.messages:
            return self._loaded.chat_tokens(request.messages)
        if isinstance(request.prompt, str):
            lay = document_tokens if self.kind == "decoder" else source_tokens
            return lay(self._loaded.words, request.prompt)
        known = self._loaded.config.get_text_config().vocab_size
        if wrong := [token for token in request.prompt if not 0 <= token < known]:
            raise UsageError(f"token {wrong[0]} is not one of the model's {known}: give others")
        if not request.prompt:
            raise UsageError("the prompt has no tokens: give one or more")
        return list(request.prompt)

    def echo(self, prompt: str | tuple[int, ...], top: int) -> tuple[str, list[Echoed]]:
        """A prompt as text, and its tokens, each with how likely it was after those before it.

        Raises `UsageError` for a prompt over the context, `UnsupportedError` for no decoder.
        """
        ids = self.prompt_tokens(Request(prompt=prompt))
        if len(ids) > self.context_length:
            raise UsageError(
                f"a prompt of {len(ids)} tokens does not fit the context of "
                f"{self.context_length}: shorten it"
            )
        with self._lock:
            found = reading.prompt_logprobs(self._loaded, ids, top)
        tokenizer = self._loaded.words.tokenizer
        if isinstance(prompt, str):
            encoding = tokenizer.encode(prompt, add_special_tokens=False)
            first = len(ids) - len(encoding.ids)  # behind the token that begins a document
            text, starts = prompt, [start for start, _ in encoding.offsets]
        else:
            first, starts = 0, token_starts(tokenizer, ids)
            text = tokenizer.decode(ids, skip_special_tokens=False)
        names = [tokenizer.decode([i], skip_special_tokens=False) for i in ids[first:]]
        return text, list(zip(names, starts, found[first:], strict=True))

    def close(self) -> None:
        """End the thread; texts that are not finished get a `ClosedError`."""
        if self._scheduler:
            self._scheduler.close()

    def _sampler(self, decoding: Decoding, prompt: Sequence[int]) -> Sampler:
        guide = None if decoding.json_schema is None else self._grammars.guide(decoding.json_schema)
        mark: Any = watermark(self._size) if decoding.watermark else None
        return Sampler(decoding, prompt, guide, mark)

    @cached_property
    def _grammars(self) -> Grammars:
        return Grammars(self._loaded.words, self._size)

    @cached_property
    def _size(self) -> int:
        return int(self._loaded.config.get_text_config().vocab_size)


def check(decoding: Decoding) -> None:
    """Raise `UsageError` for a setting that is out of range."""
    ranges = {
        "temperature": (0, 100),
        "top_p": (1e-9, 1),
        "top_k": (0, 1 << 31),
        "frequency_penalty": (-2, 2),
        "presence_penalty": (-2, 2),
        "repetition_penalty": (1e-3, 100),
        "logprobs": (0, 20),
    }
    for name, (low, high) in ranges.items():
        value = getattr(decoding, name)
        if value is not None and not low <= value <= high:
            raise UsageError(f"{name} {value} is out of range: use {low:g} to {high:g}")


def _has_bf16() -> bool:
    """Whether this processor (or GPU) multiplies in bf16."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported())
