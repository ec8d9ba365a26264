"""The real client with a hub whose files lie in a bucket."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from huggingface_hub import HfApi, constants
from sqlalchemy import select

from llmos.hub.api.app import HubApp
from llmos.hub.api.surface import ROUTES
from llmos.hub.database.tables import blobs, file_xorbs
from llmos.hub.upkeep.checking import check
from llmos.hub.upkeep.collection import collect

pytestmark = pytest.mark.system
CONTENT = random.Random(7).randbytes(20_000_000)  # several parts, several xorbs


@pytest.fixture
def world(
    new_world: Callable[..., Any], tmp_path: Path, bucket: dict[str, str], monkeypatch: Any
) -> Iterator[Any]:
    """alice, and a hub on S3."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "xet"))
    made = new_world(tmp_path / "hub", multipart_above=10_000_000, part_size=8_000_000, **bucket)
    made.user("alice")
    yield made
    made.hub.close()


@pytest.fixture
def api(world: Any, over_http: Callable[[Any], AbstractContextManager[str]]) -> Iterator[HfApi]:
    with over_http(HubApp(world.hub, ROUTES)) as address:
        yield HfApi(endpoint=address, token=world.tokens["alice"])


@pytest.mark.parametrize("xet", [True, False])
def test_a_large_file_comes_back(
    world: Any, api: HfApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, xet: bool
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", not xet)
    api.create_repo("alice/m")
    api.upload_file(path_or_fileobj=CONTENT, path_in_repo="a.bin", repo_id="alice/m")
    with world.hub.database.read() as connection:
        came_by_xet = select(blobs.c.xet_hash).where(blobs.c.size == len(CONTENT))
        assert bool(connection.scalar(came_by_xet)) == xet
        assert bool(connection.execute(select(file_xorbs)).first()) == xet
    for number, disabled in enumerate((False, True)):
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", disabled)
        found = api.hf_hub_download("alice/m", "a.bin", cache_dir=tmp_path / str(number))
        assert Path(found).read_bytes() == CONTENT
    assert check(world.hub).damaged == []


def test_it_comes_from_the_store_itself(world: Any, api: HfApi, bucket: dict[str, str]) -> None:
    api.create_repo("alice/m")
    api.upload_file(path_or_fileobj=CONTENT, path_in_repo="a.bin", repo_id="alice/m")
    answer = httpx.get(f"{api.endpoint}/alice/m/resolve/main/a.bin")
    assert answer.status_code == 302 and "x-xet-hash" not in answer.headers
    assert answer.headers["location"].startswith(bucket["storage_endpoint"])
    part = httpx.get(answer.headers["location"], headers={"Range": "bytes=5-9"})
    assert part.content == CONTENT[5:10]


def test_chunks_can_be_asked_for_all_the_same(world: Any, api: HfApi) -> None:
    """A client that knows the hash from the list of files may try."""
    api.create_repo("alice/m")
    api.upload_file(path_or_fileobj=CONTENT, path_in_repo="a.bin", repo_id="alice/m")
    [file] = api.get_paths_info("alice/m", "a.bin")
    name = getattr(file, "xet_hash", None)
    told = world.ask("GET", "/api/models/alice/m/xet-read-token/main", "alice").json()
    headers = {"Authorization": f"Bearer {told['accessToken']}"}
    address = f"{told['casUrl']}/v1/reconstructions/{name}"
    shown = world.client.get(address, headers=headers).json()
    assert sum(term["unpacked_length"] for term in shown["terms"]) == len(CONTENT)
    for places in shown["fetch_info"].values():
        span = places[0]["url_range"]
        part = {"Range": f"bytes={span['start']}-{span['end']}"}
        assert world.client.get(places[0]["url"], headers=part).status_code == 206


def test_what_is_deleted_leaves_the_bucket(world: Any, api: HfApi) -> None:
    api.create_repo("alice/m")
    api.upload_file(path_or_fileobj=CONTENT, path_in_repo="a.bin", repo_id="alice/m")
    api.delete_repo("alice/m")
    collect(world.hub, grace=0)
    assert list(world.hub.blobs.list()) == []
