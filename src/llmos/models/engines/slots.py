"""The texts that a model is writing at the moment, each in a slot; a step writes one token of each.

Texts come and go between steps. A slot's keys and values stand from its own beginning, without
padding, and occupied slots lie side by side, so that a step reads them in place.
Shapes: R running texts, T tokens of a prompt, L longest text so far, H heads, K heads of keys and
values, d width of a head, V vocabulary.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.nn import functional
from transformers import DynamicCache, EncoderDecoderCache

from llmos.models.engines.adapters import Adapter, Added
from llmos.models.engines.maps import filled, is_packed
from llmos.models.engines.networks import Network, attend_causally, nothing

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CHUNK = 256
"""Tokens of a prompt that a step reads at most, so that a long one does not hold the others up.

Prompts are always cut at multiples of it, so that their numbers do not depend on who else writes.
"""


class Slots(Protocol):
    """Room for `size` texts, of which each step takes some on."""

    size: int

    def begin(self, prompt: Sequence[int], adapter: Adapter | None = None) -> int:
        """Take a slot for a new text, written with an adapter; its key."""
        ...

    def step(self, tokens: Mapping[int, int]) -> tuple[list[int], torch.Tensor]:
        """Some keys, and for each the logits of what follows: (keys, V), float32.

        `tokens` are the newest ones of running texts, whose logits were given before. New prompts
        are read on; those that have been read to their end are told of, too.
        """
        ...

    def free(self, key: int) -> None:
        """The text of this slot is finished."""
        ...


class DecoderSlots:
    """Slots of a decoder: keys and values as (slots, K, context, d) for each layer."""

    def __init__(self, network: Network, size: int, context: int, device: torch.device) -> None:
        layers, heads, width = network.sizes
        self.size, self.network, self.device = size, network, device
        self.fill = filled if is_packed(device, network.dtype) else _as_it_is
        shape = (size, heads, context, width)
        self.keys, self.values = (
            [_zeros(shape, network.dtype, device) for _ in range(layers)] for _ in range(2)
        )
        self.context = context
        self._order: list[int] = []  # the key of the text in each place
        self._lengths: dict[int, int] = {}
        self._unread: dict[int, Sequence[int]] = {}
        self._adapters: dict[int, Adapter] = {}
        self._next_key = 0

    def begin(self, prompt: Sequence[int], adapter: Adapter | None = None) -> int:
        key, self._next_key = self._next_key, self._next_key + 1
        if adapter is not None:
            self._adapters[key] = adapter
        self._order.append(key)
        self._lengths[key] = 0
        self._unread[key] = prompt
        return key

    def free(self, key: int) -> None:
        place, last = self._order.index(key), len(self._order) - 1
        length = self._lengths[self._order[last]]
        if place != last:  # the last one moves up, so that the places in use lie side by side
            for cache in (*self.keys, *self.values):
                cache[place, :, :length] = cache[last, :, :length]
            self._order[place] = self._order[last]
        self._order.pop()
        del self._lengths[key]
        self._unread.pop(key, None)
        self._adapters.pop(key, None)

    @torch.inference_mode()
    def step(self, tokens: Mapping[int, int]) -> tuple[list[int], torch.Tensor]:
        running = [(place, key) for place, key in enumerate(self._order) if key in tokens]
        places = [place for place, _ in running]
        ids = [tokens[key] for _, key in running]
        positions = [self._lengths[key] for _, key in running]
        parts: list[tuple[int, int, int]] = []  # place, from, until
        ends, told = list(range(len(ids))), [key for _, key in running]
        for place, key in enumerate(self._order):
            if key not in self._unread:
                continue
            start, prompt = self._lengths[key], self._unread[key]
            stop = min(start + CHUNK, len(prompt))
            parts.append((place, start, stop))
            ids += prompt[start:stop]
            positions += range(start, stop)
            self._lengths[key] = stop
            if stop == len(prompt):
                del self._unread[key]
                ends.append(len(ids) - 1)
                told.append(key)
        for _, key in running:
            self._lengths[key] += 1
        if not ids:
            return [], torch.empty(0, 0)
        size = self.fill(len(ids))
        attend = _Attention(self, places, positions[: len(places)], parts, size)
        added = self._added([key for _, key in running], parts) if self._adapters else nothing
        rows, at = (self._tensor(_filled(values, size)) for values in (ids, positions))
        hidden = self.network.hidden(rows, at, attend, added)
        if not ends:
            return [], torch.empty(0, 0)
        if len(ends) < len(ids):
            hidden = hidden[self._tensor(_filled(ends, self.fill(len(ends))))]
        return told, self.network.logits(hidden)[: len(ends)].cpu()

    def _added(self, running: Sequence[int], parts: Sequence[tuple[int, int, int]]) -> Added:
        """What the rows of running texts, and of parts of prompts behind them, get added."""
        rows = [self._adapters.get(key) for key in running]
        for place, start, stop in parts:
            rows += [self._adapters.get(self._order[place])] * (stop - start)
        return Added(rows, self.device)

    def _tensor(self, values: Sequence[int]) -> torch.Tensor:
        return torch.tensor(values, device=self.device)


def _as_it_is(rows: int) -> int:
    return rows


def _filled(values: list[int], size: int) -> list[int]:
    return values + [0] * (size - len(values))


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Zeros, since what is masked must be a number, too.

    On a CPU they are pages that the system gives when they are first written to, small ones:
    empty places cost no memory, as they would with `torch.zeros`, or with NumPy's huge pages.
    """
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    pages = mmap.mmap(-1, math.prod(shape) * dtype.itemsize, **_PRIVATE)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        pages.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(pages, dtype=dtype).view(shape)


_PRIVATE: Any = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANON} if hasattr(mmap, "MAP_ANON") else {}


class _Attention:
    """The attention of one step: one row of each running text, then parts of new prompts."""

    def __init__(
        self,
        slots: DecoderSlots,
        places: Sequence[int],
        positions: Sequence[int],
        parts: Sequence[tuple[int, int, int]],
        size: int,
    ) -> None:
        self.slots, self.parts, self.running, self.size = slots, parts, len(places), size
        self.scale = slots.network.scale
        device, dtype = slots.device, slots.network.dtype
        # What fills a part up comes after its rows, which do not look at it.
        self.stops = [
            min(start + slots.fill(stop - start), slots.context) for _, start, stop in parts
        ]
        self.masks = [
            torch.ones(stop - start, stop, dtype=torch.bool, device=device).tril(start)
            if start
            else None
            for (_, start, _), stop in zip(parts, self.stops, strict=True)
        ]
        if not places:
            return
        self.places = torch.tensor(places, device=device)
        self.positions = torch.tensor(positions, device=device)
        self.count, self.length = places[-1] + 1, max(positions) + 1
        self.is_dense = self.count == len(places)
        self.mask: torch.Tensor | None = None
        if self.is_dense and min(positions) + 1 == self.length:
            return
        # Rows that look nowhere are those of places without a token; their outcome is not used.
        until = torch.zeros(self.count, dtype=torch.long, device=device)
        until[self.places] = self.positions
        ahead = torch.arange(self.length, device=device) > until[:, None]
        mask = torch.zeros(ahead.shape, dtype=dtype, device=device)
        self.mask = mask.masked_fill_(ahead, float("-inf"))[:, None, None]  # (R, 1, 1, L)

    def __call__(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        keys, values = self.slots.keys[layer], self.slots.values[layer]
        found, at = [], self.running
        if at:
            keys[self.places, :, self.positions] = key[:at]
            values[self.places, :, self.positions] = value[:at]
            found.append(self._running(query[:at], keys, values))
        for (place, start, stop), until, mask in zip(
            self.parts, self.stops, self.masks, strict=True
        ):
            rows = slice(at, at + stop - start)
            at = rows.stop
            keys[place, :, start:stop] = key[rows].transpose(0, 1)
            values[place, :, start:stop] = value[rows].transpose(0, 1)
            seen, told = (x[place, :, :until].transpose(0, 1) for x in (keys, values))
            asked = functional.pad(query[rows], (0, 0, 0, 0, 0, until - stop))
            found.append(attend_causally(asked, seen, told, self.scale, mask)[: stop - start])
        if at < self.size:
            found.append(query.new_zeros(self.size - at, query[0].numel()))
        return found[0] if len(found) == 1 else torch.cat(found)

    def _running(
        self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """(R, H, d) -> (R, H d). Heads that share keys are taken as queries of one head."""
        if not self.is_dense:
            rows = query.new_zeros(self.count, *query.shape[1:])
            rows[self.places] = query
            query = rows
        found = functional.scaled_dot_product_attention(
            query.view(self.count, keys.shape[1], -1, query.shape[-1]),  # (R, K, H / K, d)
            keys[: self.count, :, : self.length],
            values[: self.count, :, : self.length],
            attn_mask=self.mask,
            scale=self.scale,
        ).reshape(self.count, -1)
        return found if self.is_dense else found[self.places]


class Seq2SeqSlots:
    """Slots of an encoder-decoder, which transformers computes, one text after the other."""

    def __init__(self, model: PreTrainedModel, size: int, start: int) -> None:
        self.size, self.model, self.start = size, model, start
        self._texts: dict[int, tuple[Any, EncoderDecoderCache]] = {}
        self._new: dict[int, Sequence[int]] = {}
        self._next_key = 0

    def begin(self, prompt: Sequence[int], adapter: Adapter | None = None) -> int:
        assert adapter is None, "adapters are served over decoders"
        key, self._next_key = self._next_key, self._next_key + 1
        self._new[key] = prompt
        return key

    def free(self, key: int) -> None:
        self._new.pop(key, None)
        self._texts.pop(key, None)

    @torch.inference_mode()
    def step(self, tokens: Mapping[int, int]) -> tuple[list[int], torch.Tensor]:
        tokens = dict(tokens)
        for key, prompt in self._new.items():
            ids = torch.tensor([list(prompt)], device=self.model.device)
            cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
            encoder: Any = self.model.get_encoder()
            self._texts[key] = encoder(input_ids=ids), cache
            tokens[key] = self.start
        self._new = {}
        rows = [self._one(key, token) for key, token in tokens.items()]
        return list(tokens), torch.stack(rows) if rows else torch.empty(0, 0)

    def _one(self, key: int, token: int) -> torch.Tensor:
        read, cache = self._texts[key]
        found = self.model(
            encoder_outputs=read,
            decoder_input_ids=torch.tensor([[token]], device=self.model.device),
            past_key_values=cache,
            use_cache=True,
        )
        logits: torch.Tensor = found.logits[0, -1].float().cpu()
        return logits
