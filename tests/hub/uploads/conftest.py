"""Fixtures of the tests of uploads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants, file_download
from tests.hub.uploads.lfs_sender import make_repo
from tests.hub.uploads.xet_reader import Sender
from tests.hub.uploads.xet_sender import Store

from llmos.hub.uploads.xet import chunklists


@pytest.fixture
def repo(world: Any) -> None:
    """acme/m."""
    make_repo(world)


@pytest.fixture
def store(world: Any, repo: None) -> Store:
    """The chunk store of acme/m, for alice."""
    return Store(world)


@pytest.fixture
def xet_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client with a cache of its own, and a hub that cuts small files into several xorbs."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(chunklists, "LARGEST", 200_000)  # several xorbs for a small file
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "xet"))


@pytest.fixture
def over_xet(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The Xet hashes of what the client has fetched over Xet."""
    fetched: list[str] = []
    real = file_download.xet_get

    def watched(**options: Any) -> None:
        fetched.append(options["xet_file_data"].file_hash)
        real(**options)

    monkeypatch.setattr(file_download, "xet_get", watched)
    return fetched


@pytest.fixture
def sender(world: Any, live: str, tmp_path: Path, xet_client: None) -> Sender:
    return Sender(world, live, tmp_path)
