"""Large files that are sent in parts: in any order, changed, or at once."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.hub.uploads.lfs_sender import CONTENT, OID, actions_of, set_settings

from llmos.hub.uploads import multipart


def _parts(world) -> tuple[dict[str, Any], list[bytes]]:
    set_settings(world, multipart_above=1000, part_size=30_000)
    upload = actions_of(world, transfers=["basic", "multipart"])["upload"]
    assert upload["header"]["chunk_size"] == "30000"
    assert len(upload["header"]) == 5
    return upload, [CONTENT[at : at + 30_000] for at in range(0, len(CONTENT), 30_000)]


def _part(world, upload: dict[str, Any], number: int, content: bytes) -> Any:
    return world.client.put(upload["header"][f"{number:05d}"], content=content)


def _complete(world, upload: dict[str, Any]) -> Any:
    return world.client.post(upload["href"], json={"oid": OID, "parts": []})


@pytest.mark.parametrize("order", [[1, 2, 3, 4], [4, 3, 2, 1], [1, 2, 1, 3, 4]])
def test_parts_in_any_order(world, repo, order) -> None:
    upload, parts = _parts(world)
    for number in order:
        assert _complete(world, upload).status_code == 400
        assert _part(world, upload, number, parts[number - 1]).headers["etag"]
        if number == 2:
            assert _part(world, upload, 2, b"short").status_code == 400
            assert _part(world, upload, 2, parts[1]).status_code == 200
    assert _complete(world, upload).status_code == 200
    assert _complete(world, upload).status_code == 200
    assert b"".join(world.hub.blobs.read(OID)) == CONTENT
    assert not list((world.hub.settings.temporary / "multipart").iterdir())


def test_a_part_that_was_changed_later_is_seen(world, repo) -> None:
    upload, parts = _parts(world)
    for number, part in enumerate(parts, 1):
        _part(world, upload, number, part)
    assert _part(world, upload, 1, b"y" * 30_000).status_code == 200
    assert _complete(world, upload).status_code == 400
    assert world.hub.blobs.size(OID) is None
    for number, part in enumerate(parts, 1):
        _part(world, upload, number, part)
    assert _complete(world, upload).status_code == 200


def test_nothing_is_assembled_while_a_part_is_written(world, repo) -> None:
    upload, parts = _parts(world)
    plan = multipart.Plan(1, OID, len(CONTENT), 30_000)
    for number, part in enumerate(parts, 1):
        _part(world, upload, number, part)
    with multipart.Part(world.hub, plan, 1) as slow:
        assert _part(world, upload, 1, parts[0]).status_code == 200
        assert _complete(world, upload).status_code == 409
        slow.write(b"evil")
    assert _complete(world, upload).status_code == 400
    assert world.hub.blobs.size(OID) is None


def test_a_part_that_was_begun_early_does_not_pass_unseen(world, repo) -> None:
    upload, parts = _parts(world)
    plan = multipart.Plan(1, OID, len(CONTENT), 30_000)
    with multipart.Part(world.hub, plan, 3) as slow:
        for number, part in enumerate(parts, 1):
            _part(world, upload, number, part)
        slow.write(b"evil")
    assert _complete(world, upload).status_code == 400


def test_parts_outlive_the_process_and_are_forgotten_some_day(world, repo) -> None:
    upload, parts = _parts(world)
    for number, part in enumerate(parts[:2], 1):
        _part(world, upload, number, part)
    multipart._hashes._held.clear()
    for number, part in enumerate(parts[2:], 3):
        _part(world, upload, number, part)
    assert multipart.forget_old_parts(world.hub, 0) == 0
    assert _complete(world, upload).status_code == 200
    _part(world, upload, 1, parts[0])
    assert multipart.forget_old_parts(world.hub, time.time_ns() // 1_000_000 + 5000) > 0
    assert not list((world.hub.settings.temporary / "multipart").iterdir())


def test_numbers_of_parts(world, repo) -> None:
    upload, parts = _parts(world)
    address = upload["header"]["00001"]
    for number in ("0", "5", "-1", "1.0", "x", "99999999999999999999"):
        changed = address.replace("/30000/1?", f"/30000/{number}?")
        assert world.client.put(changed, content=parts[0]).status_code == 400
    assert _part(world, upload, 1, parts[0] + b"x").status_code in (400, 413)
