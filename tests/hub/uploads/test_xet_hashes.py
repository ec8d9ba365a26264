"""The hashes of Xet, and how chunks are packed, against the specification."""

from __future__ import annotations

import random

import lz4.frame
import numpy as np
import pytest
from tests.hub.uploads.xet_sender import tree_root

from llmos.hub.uploads.xet import format as xorb_format
from llmos.hub.uploads.xet import hashes


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 9, 10, 11, 100, 3000])
def test_the_tree_is_that_of_the_specification(count: int) -> None:
    draw = random.Random(count)
    for share in (0, 1, 3):  # how often a hash ends a group: always, sometimes
        leaves = []
        for _ in range(count):
            raw = bytearray(draw.randbytes(32))
            raw[24] = raw[24] & 0xFC if share == 0 else raw[24] | share
            leaves.append((bytes(raw), draw.randrange(1, 130_000)))
        tree = hashes.MerkleTree()
        for leaf in leaves:
            tree.add(*leaf)
        assert tree.xorb_hash() == tree_root(leaves)


def test_published_hashes() -> None:
    # of xet-core's own tests: three leaves, their sizes, the root and the file's hash
    leaves = [
        ("cfc5d07f6f03c29bbf424132963fe08d19a37d5757aaf520bf08119f05cd56d6", 100),
        ("c3e67584b5c4fc2a89837ec39e40f2c8a6bb0b2987ac94cd4b31e5fbdd210a72", 200),
        ("0d2beb91b9196929a5ddec9f6e306924ddf4a24268e3e59fd8464738d525af37", 300),
    ]
    both = hashes.MerkleTree(), hashes.MerkleTree()
    for tree in both:
        for text, size in leaves:
            assert hashes.to_text(hashes.from_text(text)) == text
            tree.add(hashes.from_text(text), size)
    root = "71ec1275fca074724e2dd666921b3277c7cee603e4d025bcab2d4050015be2bc"
    file = "54e55dccc6653c612bdb5576c5d3cb34bb31bc4e100248abccf4c908b3ef7715"
    assert hashes.to_text(both[0].xorb_hash()) == root
    assert hashes.to_text(both[1].file_hash()) == file


def test_bytes_in_groups_of_four() -> None:
    for size in range(1, 30):
        plain = np.arange(size, dtype=np.uint8).tobytes()
        packed = lz4.frame.compress(b"".join(plain[place::4] for place in range(4)))
        assert xorb_format.unpack(2, packed, size) == plain
