"""Large files sent by the real client, with Xet and with LFS, and fetched back."""

from __future__ import annotations

import hashlib
import io
import random
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

SIZE = 3_000_000


def _api(world, live: str, user: str = "alice") -> HfApi:
    return HfApi(endpoint=live, token=world.tokens[user])


def _fetched(api: HfApi, tmp_path: Path, name: str) -> bytes:
    return Path(api.hf_hub_download("acme/m", name, cache_dir=tmp_path / "cache")).read_bytes()


def _content(seed: int, size: int = SIZE) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture(autouse=True)
def a_client_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "xet"))


@pytest.mark.parametrize("xet", [True, False])
def test_files_come_back_as_they_were_sent(world, live, tmp_path, monkeypatch, xet) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", not xet)
    api = _api(world, live)
    api.create_repo("acme/m")
    content = {
        "weights.bin": _content(1),
        "floats.bin": b"".join(number.to_bytes(4, "little") for number in range(500_000)),
        "same/weights.bin": _content(1),
        "zeros.bin": bytes(SIZE),
    }
    api.upload_file(
        path_or_fileobj=content["weights.bin"], path_in_repo="weights.bin", repo_id="acme/m"
    )
    for name in content:
        (tmp_path / "up" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "up" / name).write_bytes(content[name])
    api.upload_folder(folder_path=tmp_path / "up", repo_id="acme/m")
    for name, data in content.items():
        assert _fetched(api, tmp_path, name) == data
    assert xet == (world.hub.settings.folder / "xorbs").exists()
    info = api.model_info("acme/m", files_metadata=True)
    shown = {one.rfilename: one.lfs.sha256 for one in info.siblings if one.lfs}
    assert shown == {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}


def test_a_file_object_travels_as_lfs_in_parts(world, live, tmp_path, monkeypatch) -> None:
    object.__setattr__(world.hub, "settings", _smaller(world.hub.settings))
    api = _api(world, live)
    api.create_repo("acme/m")
    content = _content(2, 3_500_001)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    api.upload_file(path_or_fileobj=io.BytesIO(content), path_in_repo="a.bin", repo_id="acme/m")
    assert _fetched(api, tmp_path, "a.bin") == content
    assert not any((world.hub.settings.temporary).rglob("data"))


def _smaller(settings):
    from dataclasses import replace

    return replace(settings, multipart_above=1_000_000, part_size=1_000_000)


def test_what_changed_in_a_large_file_is_all_that_travels(world, live, tmp_path) -> None:
    api = _api(world, live)
    api.create_repo("acme/m")
    one = _content(3)
    two = one[:1_500_000] + b"changed" + one[1_500_000:]
    (tmp_path / "one.bin").write_bytes(one)
    (tmp_path / "two.bin").write_bytes(two)
    for name in ("one.bin", "two.bin"):
        api.upload_file(path_or_fileobj=tmp_path / name, path_in_repo=name, repo_id="acme/m")
        assert _fetched(api, tmp_path, name) == (tmp_path / name).read_bytes()
    sent = sum(
        path.stat().st_size
        for path in (world.hub.settings.folder / "xorbs").rglob("?*")
        if path.is_file()
    )
    assert sent < 1.2 * SIZE
