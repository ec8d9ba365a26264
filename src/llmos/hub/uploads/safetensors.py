"""Headers of safetensors files: read, checked, counted.

The format: 8 bytes length of the header (little-endian), the header (JSON: name to dtype, shape,
data_offsets), the data without gaps or overlaps
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from typing import Any, BinaryIO

import orjson

HEADER_LIMIT = 100_000_000  # bytes, as the safetensors library has it
LARGE = 4 << 20  # bytes; longer headers are parsed one at a time
# fmt: off
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "I16": 16, "U16": 16, "F16": 16,
    "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}
# fmt: on
_one_at_a_time = threading.Lock()


class NotSafetensors(Exception):
    """Why a file is no whole safetensors file."""


def looks_like(head: bytes, size: int) -> bool:
    """Whether a file of `size` bytes that begins with `head` (9 bytes or more) may be one."""
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 2 <= length <= min(HEADER_LIMIT, size - 8)


def count_parameters(file: BinaryIO, size: int) -> dict[str, Any]:
    """{"parameters": {dtype: count}, "total": count} of a safetensors file of `size` bytes.

    Raises `NotSafetensors` when the header is not whole or does not fit the file.
    """
    file.seek(0)
    head = file.read(8)
    length = int.from_bytes(head, "little")
    if len(head) < 8 or length > size - 8:
        raise NotSafetensors("it is shorter than its header says")
    if length > HEADER_LIMIT:
        raise NotSafetensors(f"its header is over {HEADER_LIMIT:,} bytes")
    if length > LARGE:
        with _one_at_a_time:
            return _counted(file.read(length), size - 8 - length)
    return _counted(file.read(length), size - 8 - length)


def _counted(header: bytes, data_size: int) -> dict[str, Any]:
    try:
        tensors = orjson.loads(header)
    except ValueError:
        raise NotSafetensors("its header is no JSON") from None
    if not isinstance(tensors, dict):
        raise NotSafetensors("its header is no JSON object")
    tensors.pop("__metadata__", None)
    counts: Counter[str] = Counter()
    spans = []
    for name, about in tensors.items():
        dtype, count, start, stop = _tensor(name, about)
        counts[dtype] += count
        spans.append((start, stop, name))
    end = 0
    for start, stop, name in sorted(spans):
        if start != end:
            raise NotSafetensors(f"tensor {name[:80]!r} overlaps another or leaves a gap")
        end = stop
    if end != data_size:
        raise NotSafetensors(f"its tensors take {end:,} bytes, but {data_size:,} follow the header")
    return {"parameters": dict(counts), "total": sum(counts.values())}


def _tensor(name: str, about: Any) -> tuple[str, int, int, int]:
    try:
        dtype, shape, (start, stop) = about["dtype"], about["shape"], about["data_offsets"]
        whole = all(type(number) is int and number >= 0 for number in [*shape, start, stop])
    except (KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise NotSafetensors(f"tensor {name[:80]!r} lacks a dtype, shape or data_offsets")
    if dtype not in BITS:
        raise NotSafetensors(f"tensor {name[:80]!r} has the unknown dtype {str(dtype)[:20]!r}")
    count = math.prod(shape)
    if (stop - start) * 8 != count * BITS[dtype]:
        raise NotSafetensors(f"tensor {name[:80]!r} does not have the bytes its shape needs")
    return dtype, count, start, stop
