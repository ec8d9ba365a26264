"""Keccak-256 as Ethereum uses it: SHA-3's permutation with the padding of before FIPS 202."""

from __future__ import annotations

_LANES = 1 << 64
_RATE = 136
"""Bytes taken in between two permutations, for a digest of 256 bits."""


def _round_constants() -> list[int]:
    """FIPS 202, algorithm 5: bits of a linear feedback shift register at places 2^j - 1."""
    constants, register = [], 1
    for _ in range(24):
        constant = 0
        for j in range(7):
            constant |= (register & 1) << ((1 << j) - 1)
            register = register << 1 ^ (register >> 7) * 0x171
        constants.append(constant)
    return constants


def _moves() -> list[tuple[int, int, int]]:
    """FIPS 202, 3.2.2 and 3.2.3: of each lane x + 5y its rotation and its next place."""
    moves, (x, y) = [(0, 0, 0)], (1, 0)
    for step in range(24):
        moves.append((x + 5 * y, (step + 1) * (step + 2) // 2 % 64, y + 5 * ((2 * x + 3 * y) % 5)))
        x, y = y, (2 * x + 3 * y) % 5
    return moves


_CONSTANTS = _round_constants()
_MOVES = _moves()


def _rotated(lane: int, by: int) -> int:
    return (lane << by | lane >> (64 - by)) % _LANES


def _permute(lanes: list[int]) -> list[int]:
    """Keccak-f[1600]."""
    for constant in _CONSTANTS:
        columns = [
            lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20]
            for x in range(5)
        ]
        sides = [columns[x - 1] ^ _rotated(columns[(x + 1) % 5], 1) for x in range(5)]
        moved = [0] * 25
        for place, by, to in _MOVES:
            moved[to] = _rotated(lanes[place] ^ sides[place % 5], by)
        lanes = [
            lane ^ (~moved[row + (x + 1) % 5] & moved[row + (x + 2) % 5])
            for row in range(0, 25, 5)
            for x, lane in enumerate(moved[row : row + 5])
        ]
        lanes[0] ^= constant
    return lanes


def keccak_256(data: bytes) -> bytes:
    """The digest of `data`, 32 bytes."""
    padded = bytearray(data + b"\x01" + bytes(-(len(data) + 1) % _RATE))
    padded[-1] |= 0x80
    lanes = [0] * 25
    for start in range(0, len(padded), _RATE):
        for n in range(_RATE // 8):
            at = start + 8 * n
            lanes[n] ^= int.from_bytes(padded[at : at + 8], "little")
        lanes = _permute(lanes)
    return b"".join(lane.to_bytes(8, "little") for lane in lanes[:4])
