"""Codecs: how the values of an update travel, as bytes that are the same on every machine.

A codec maps a flat float32 vector of shape (n,) to bytes and back; all numbers are little-endian.
Both directions refuse NaN and infinities, so that one broken member cannot break a merge.

| codec | bytes for n values    | error of a value x                          |
|-------|-----------------------|---------------------------------------------|
| fp32  | 4 n                   | none                                        |
| bf16  | 2 n                   | <= 2^-9 |x| (8 significant bits)            |
| int8  | n + 4 ceil(n / 256)   | <= scale / 2, scale = max |x| in block / 127 |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from llmos.errors import ProtocolError

Vector = npt.NDArray[np.float32]

BLOCK = 256
"""Values that share one scale in int8."""
_T = TypeVar("_T", bound=np.generic)
_CHUNK = BLOCK << 8  # 65,536 values at a time: temporary arrays that fit a core's cache


class Codec(Protocol):
    """One way to write a vector; `version` goes up when the bytes change their meaning."""

    @property
    def version(self) -> int: ...

    def size(self, n: int) -> int:
        """How many bytes `n` values take."""

    def encode(self, vector: Vector) -> bytes:
        """The bytes of `vector` (n,). Raises `ProtocolError` for NaN, infinities, other dtypes."""

    def decode(self, data: bytes, n: int) -> Vector:
        """The vector (n,) in `data`, as an array of its own.

        Raises `ProtocolError` for a wrong length, NaN and infinities, with the position.
        """


@dataclass(frozen=True)
class Float32:
    """The values as they are."""

    version: int = 1

    def size(self, n: int) -> int:
        return 4 * n

    def encode(self, vector: Vector) -> bytes:
        _check_vector(vector)
        return vector.astype("<f4").tobytes()

    def decode(self, data: bytes, n: int) -> Vector:
        _check_length("fp32", data, n, self.size(n))
        vector = np.frombuffer(data, "<f4").astype(np.float32)
        _check_finite(vector)
        return vector


@dataclass(frozen=True)
class BFloat16:
    """The upper 16 bits of each float32, rounded to nearest, ties to even."""

    version: int = 1

    def size(self, n: int) -> int:
        return 2 * n

    def encode(self, vector: Vector) -> bytes:
        _check_vector(vector)
        out = np.empty(len(vector), "<u2")
        for part in _chunks(len(vector)):
            bits = vector[part].view(np.uint32)
            odd = (bits >> 16) & 1
            out[part] = (bits + (odd + np.uint32(0x7FFF))) >> 16
            infinite = (out[part] & 0x7FFF) == 0x7F80
            if infinite.any():
                position = part.start + int(infinite.argmax())
                raise _too_large(position, float(vector[position]), "bf16")
        return out.tobytes()

    def decode(self, data: bytes, n: int) -> Vector:
        _check_length("bf16", data, n, self.size(n))
        vector = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        _check_finite(vector)
        return vector


@dataclass(frozen=True)
class Int8:
    """Whole numbers from -127 to 127 times one float32 scale per block of 256 values.

    Symmetric absmax quantisation by blocks (Dettmers et al. 2022, arXiv 2110.02861, with linear
    levels). All scales come first, then all values.
    """

    version: int = 1

    def size(self, n: int) -> int:
        return n + 4 * _blocks(n)

    def encode(self, vector: Vector) -> bytes:
        _check_vector(vector)
        n = len(vector)
        scales, levels = np.empty(_blocks(n), "<f4"), np.empty(n, np.int8)
        for part in _chunks(n):
            blocks = _in_blocks(vector[part].astype(np.float64))
            largest = np.abs(blocks).max(axis=1)
            scale = (largest / 127).astype(np.float32)
            # Near 2^-149 the rounded scale may be too small to reach the largest value.
            short = largest >= 127.5 * scale.astype(np.float64)
            scale = np.where(short, np.nextafter(scale, np.float32(1)), scale)
            if (127 * scale.astype(np.float64) > np.finfo(np.float32).max).any():
                position = part.start + int(np.abs(vector[part]).argmax())
                raise _too_large(position, float(vector[position]), "int8")
            divisor = np.where(scale > 0, scale, 1).astype(np.float64)
            levels[part] = np.rint(blocks / divisor[:, None]).reshape(-1)[: part.stop - part.start]
            scales[part.start // BLOCK : part.start // BLOCK + len(scale)] = scale
        return scales.tobytes() + levels.tobytes()

    def decode(self, data: bytes, n: int) -> Vector:
        _check_length("int8", data, n, self.size(n))
        scales = np.frombuffer(data, "<f4", _blocks(n)).astype(np.float32)
        levels = np.frombuffer(data, np.int8, n, offset=4 * _blocks(n))
        bad = ~np.isfinite(scales) | np.signbit(scales)
        if bad.any():
            block = int(bad.argmax())
            raise ProtocolError(
                f"the scale of value {block * BLOCK} is {scales[block]}: {_ASK_AGAIN}"
            )
        if n and int(levels.min()) == -128:
            position = int(levels.argmin())
            raise ProtocolError(f"value {position} has the level -128, under -127: {_ASK_AGAIN}")
        vector = np.empty(n, np.float32)
        with np.errstate(over="ignore"):  # an overflow becomes an infinity, which is refused
            for part in _chunks(n):
                first = part.start // BLOCK
                scale = scales[first : first + _blocks(part.stop - part.start), None]
                blocks = _in_blocks(levels[part]).astype(np.float32) * scale
                vector[part] = blocks.reshape(-1)[: part.stop - part.start]
        _check_finite(vector)
        return vector


CODECS: dict[str, Codec] = {"fp32": Float32(), "bf16": BFloat16(), "int8": Int8()}


def encode_with_feedback(
    codec: Codec, vector: Vector, residual: Vector | None
) -> tuple[bytes, Vector]:
    """Encode `vector` plus what earlier rounds lost; return the bytes and what is lost now.

    Error feedback (Karimireddy et al. 2019, arXiv 1901.09847; as in SparseLoCo, arXiv 2508.15706):
    e <- e + vector; send Q(e); e <- e - decoded. `residual` (n,) is None in the first round. The
    caller keeps the new residual only when the update was accepted. Raises `ProtocolError` for
    shapes that differ and for NaN or infinities.
    """
    _check_vector(vector)
    if residual is None:
        total = vector
    else:
        _check_vector(residual)
        if residual.shape != vector.shape:
            raise ProtocolError(
                f"the residual has {len(residual)} values and the update {len(vector)}: start "
                "with no residual when the model changes"
            )
        with np.errstate(over="ignore"):
            total = residual + vector
    data = codec.encode(total)
    return data, total - codec.decode(data, len(total))


_ASK_AGAIN = "refuse this update and ask its member for another"


def _chunks(n: int) -> Iterator[slice]:
    for start in range(0, n, _CHUNK):
        yield slice(start, min(n, start + _CHUNK))


def _blocks(n: int) -> int:
    return -(-n // BLOCK)


def _in_blocks(values: npt.NDArray[_T]) -> npt.NDArray[_T]:
    """`values` (n,) as (blocks, 256), the last block filled up with zeros."""
    missing = -len(values) % BLOCK
    return np.pad(values, (0, missing)).reshape(-1, BLOCK)


def _check_vector(vector: Vector) -> None:
    if vector.dtype != np.float32 or vector.ndim != 1:
        raise ProtocolError(
            f"an update is one flat float32 vector, not {vector.dtype} of shape {vector.shape}: "
            "flatten and convert it first"
        )
    _check_finite(vector)


def _check_finite(vector: Vector) -> None:
    for part in _chunks(len(vector)):
        finite = np.isfinite(vector[part])
        if not finite.all():
            position = part.start + int(finite.argmin())
            raise ProtocolError(f"value {position} is {vector[position]}: {_ASK_AGAIN}")


def _check_length(codec: str, data: bytes, n: int, needed: int) -> None:
    if n < 0 or len(data) != needed:
        raise ProtocolError(
            f"{n} values in {codec} take {needed} bytes, these are {len(data)}: {_ASK_AGAIN}"
        )


def _too_large(position: int, value: float, codec: str) -> ProtocolError:
    return ProtocolError(
        f"value {position} is {value:g}, too large for {codec}: use fp32, or find out why "
        "training diverged"
    )
