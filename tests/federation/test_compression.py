from __future__ import annotations

import hashlib
import struct
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from llmos.errors import ProtocolError
from llmos.federation import compression
from llmos.federation.compression import CODECS, Vector, encode_with_feedback

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
vectors = hnp.arrays(np.float32, st.integers(0, 700), elements=floats)


def normal(n: int, seed: int = 0, scale: float = 1e-3) -> Vector:
    return (np.random.default_rng(seed).standard_normal(n) * scale).astype(np.float32)


def bits(vector: Vector) -> list[int]:
    return list(vector.view(np.uint32))


@settings(deadline=None)
@given(vectors)
def test_fp32_keeps_every_bit(vector: Vector) -> None:
    data = CODECS["fp32"].encode(vector)
    assert data == struct.pack(f"<{len(vector)}f", *vector.tolist())
    assert bits(CODECS["fp32"].decode(data, len(vector))) == bits(vector)


def to_bf16_by_torch(vector: Vector) -> list[int]:
    cast = torch.from_numpy(vector.copy()).to(torch.bfloat16)
    return list(cast.view(torch.int16).numpy().view(np.uint16))


@settings(deadline=None)
@given(hnp.arrays(np.uint32, 300, elements=st.integers(0, 2**32 - 1)))
def test_bf16_is_torchs_cast_for_all_bit_patterns(patterns: np.ndarray) -> None:
    vector = patterns.view(np.float32)
    # Over 0x7F7F8000 a finite value rounds to infinity; not finite ones are refused.
    vector = vector[(patterns & 0x7FFFFFFF) < 0x7F7F8000].copy()
    data = CODECS["bf16"].encode(vector)
    assert list(np.frombuffer(data, "<u2")) == to_bf16_by_torch(vector)


def test_bf16_is_torchs_cast_at_ties_and_subnormals() -> None:
    upper = np.arange(0, 0x7F7F, dtype=np.uint32)[:, None] << 16
    lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    patterns = (upper | lower).reshape(-1)
    vector = np.concatenate([patterns, patterns | 0x80000000]).astype(np.uint32).view(np.float32)
    data = CODECS["bf16"].encode(vector)
    assert list(np.frombuffer(data, "<u2")) == to_bf16_by_torch(vector)
    back = torch.from_numpy(vector).to(torch.bfloat16).to(torch.float32).numpy()
    assert bits(CODECS["bf16"].decode(data, len(vector))) == bits(back)


def int8_by_loops(vector: Vector) -> tuple[list[float], list[int]]:
    scales, levels = [], []
    for start in range(0, len(vector), 256):
        block = [float(x) for x in vector[start : start + 256]]
        scale = float(np.float32(max(abs(x) for x in block) / 127))
        scales.append(scale)
        levels += [round(x / scale) if scale else 0 for x in block]  # round: ties to even
    return scales, levels


@pytest.mark.parametrize("n", [0, 1, 255, 256, 257, 1000])
def test_int8_is_scales_then_levels(n: int) -> None:
    vector = normal(n)
    vector[300:400] = 0
    scales, levels = int8_by_loops(vector)
    data = CODECS["int8"].encode(vector)
    assert data == struct.pack(f"<{len(scales)}f{n}b", *scales, *levels)
    decoded = CODECS["int8"].decode(data, n)
    expected = [np.float32(level * scales[i // 256]) for i, level in enumerate(levels)]
    assert list(decoded) == expected


def test_int8_rounds_ties_to_even() -> None:
    vector = np.array([127, 0.5, 1.5, 2.5, -0.5, -1.5, 126.5], np.float32)  # the scale is 1
    assert list(CODECS["int8"].decode(CODECS["int8"].encode(vector), 7)) == [
        127, 0, 2, 2, 0, -2, 126
    ]  # fmt: skip


@settings(deadline=None)
@given(vectors)
@example(np.full(3, 2e-45, np.float32))
@example(np.array([1.7e-43, 1.4e-45, -1e-44], np.float32))
@example(np.array([127.5 * 1.4e-45], np.float32))
def test_int8_errs_by_half_a_scale_at_most(vector: Vector) -> None:
    try:
        data = CODECS["int8"].encode(vector)
    except ProtocolError:
        assert np.abs(vector).max() > 3.4028e38
        return
    decoded = CODECS["int8"].decode(data, len(vector)).astype(np.float64)
    scales = np.repeat(np.frombuffer(data, "<f4", -(-len(vector) // 256)), 256)[: len(vector)]
    rounding = np.spacing(np.abs(vector)) / 2 + 1e-45 * (scales == 0)
    assert (np.abs(decoded - vector) <= scales.astype(np.float64) / 2 + rounding).all()
    assert (decoded[vector == 0] == 0).all()


@settings(deadline=None)
@given(vectors, st.sampled_from(sorted(CODECS)))
def test_encoding_what_was_decoded_changes_nothing_more(vector: Vector, name: str) -> None:
    vector = np.clip(vector, -1e30, 1e30)
    codec = CODECS[name]
    data = codec.encode(vector)
    assert len(data) == codec.size(len(vector))
    once = codec.decode(data, len(vector))
    assert once.dtype == np.float32 and once.flags.writeable
    again = codec.decode(codec.encode(once), len(vector))
    np.testing.assert_allclose(again, once, rtol=1e-6, atol=1e-44)


@pytest.mark.parametrize("name", sorted(CODECS))
def test_chunks_do_not_show(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vector = normal(5000)
    whole = CODECS[name].encode(vector)
    decoded = CODECS[name].decode(whole, 5000)
    monkeypatch.setattr(compression, "_CHUNK", 512)
    assert CODECS[name].encode(vector) == whole
    assert bits(CODECS[name].decode(whole, 5000)) == bits(decoded)
    assert CODECS[name].encode(np.repeat(vector, 2)[::2]) == whole  # not contiguous


GOLDEN = {
    "fp32": "9e777a27",
    "bf16": "76931048",
    "int8": "c98180c0",
}


def test_version_1_bytes_stay_as_they_are() -> None:
    vector = ((np.arange(600) * 7919 % 1009 - 504) / 4096).astype(np.float32)
    found = {name: hashlib.sha256(c.encode(vector)).hexdigest()[:8] for name, c in CODECS.items()}
    assert {codec.version for codec in CODECS.values()} == {1}
    assert found == GOLDEN


@pytest.mark.parametrize("name", sorted(CODECS))
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_values_are_not_encoded(name: str, bad: float) -> None:
    vector = normal(700)
    vector[600] = bad
    with pytest.raises(ProtocolError, match=r"value 600 is (nan|-?inf)"):
        CODECS[name].encode(vector)


@pytest.mark.parametrize("name", ["bf16", "int8"])
def test_what_would_become_infinite_is_not_encoded(name: str) -> None:
    vector = normal(700)
    vector[600] = -np.finfo(np.float32).max
    try:
        decoded = CODECS[name].decode(CODECS[name].encode(vector), 700)
    except ProtocolError as error:
        assert "value 600 is -3.40282e+38, too large" in str(error)
    else:
        assert np.isfinite(decoded).all()


def test_not_finite_bytes_are_refused_with_their_position() -> None:
    data = bytearray(CODECS["fp32"].encode(normal(700)))
    data[4 * 600 : 4 * 601] = struct.pack("<f", np.nan)
    with pytest.raises(ProtocolError, match="value 600 is nan"):
        CODECS["fp32"].decode(bytes(data), 700)
    data = bytearray(CODECS["bf16"].encode(normal(700)))
    data[2 * 600 : 2 * 601] = b"\x80\xff"
    with pytest.raises(ProtocolError, match="value 600 is -inf"):
        CODECS["bf16"].decode(bytes(data), 700)


@pytest.mark.parametrize("scale", [np.nan, np.inf, -1.0, -0.0])
def test_int8_scales_are_checked(scale: float) -> None:
    data = bytearray(CODECS["int8"].encode(normal(700)))
    data[8:12] = struct.pack("<f", scale)
    with pytest.raises(ProtocolError, match="scale of value 512 is"):
        CODECS["int8"].decode(bytes(data), 700)


def test_int8_products_and_levels_are_checked() -> None:
    data = bytearray(CODECS["int8"].encode(normal(700)))
    data[12 + 600] = 100
    data[8:12] = struct.pack("<f", 3e38)
    with pytest.raises(ProtocolError, match=r"value \d+ is -?inf"):
        CODECS["int8"].decode(bytes(data), 700)
    data[12 + 5] = 0x80
    with pytest.raises(ProtocolError, match="value 5 has the level -128"):
        CODECS["int8"].decode(bytes(data), 700)


@pytest.mark.parametrize("name", sorted(CODECS))
def test_wrong_lengths_and_types_are_refused(name: str) -> None:
    codec = CODECS[name]
    data = codec.encode(normal(300))
    for wrong, n in ((data[:-1], 300), (data + b"\0", 300), (data, 299), (data, 301), (b"", -1)):
        with pytest.raises(ProtocolError, match="take"):
            codec.decode(wrong, n)
    assert len(codec.decode(b"", 0)) == 0
    others: list[Any] = [normal(4).astype(np.float64), normal(4).reshape(2, 2), np.arange(3)]
    for vector in others:
        with pytest.raises(ProtocolError, match="flat float32"):
            codec.encode(vector)


@given(vectors, st.sampled_from(sorted(CODECS)), st.binary(max_size=3000))
@settings(max_examples=50, deadline=None)
def test_any_bytes_decode_to_finite_values_or_are_refused(
    vector: Vector, name: str, data: bytes
) -> None:
    for n in (len(data) // 4, len(data) // 2, len(data) - 4 * (-(-len(data) // 260))):
        try:
            decoded = CODECS[name].decode(data, n)
        except ProtocolError:
            continue
        assert decoded.shape == (n,) and np.isfinite(decoded).all()


@pytest.mark.parametrize("name", sorted(CODECS))
def test_feedback_loses_nothing_over_the_rounds(name: str) -> None:
    residual, sent, meant = None, np.zeros(1000), np.zeros(1000)
    for seed in range(20):
        vector = normal(1000, seed)
        data, residual = encode_with_feedback(CODECS[name], vector, residual)
        sent += CODECS[name].decode(data, 1000)
        meant += vector
    assert residual is not None
    np.testing.assert_allclose(sent + residual, meant, rtol=0, atol=1e-8)
    if name == "fp32":
        assert not residual.any()
    else:  # without feedback the errors of 20 rounds would add up
        plain = sum(
            CODECS[name].decode(CODECS[name].encode(normal(1000, s)), 1000).astype(np.float64)
            for s in range(20)
        )
        assert np.abs(sent - meant).mean() < np.abs(plain - meant).mean() / 2


def test_feedback_refuses_what_does_not_fit() -> None:
    with pytest.raises(ProtocolError, match="residual has 3"):
        encode_with_feedback(CODECS["bf16"], normal(4), normal(3))
    large = np.full(2, 3e38, np.float32)
    with pytest.raises(ProtocolError, match="value 0 is inf"):
        encode_with_feedback(CODECS["fp32"], large, large)
