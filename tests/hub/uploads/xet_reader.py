"""Readers of files over Xet: the real client, and one written from the specification."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

SIZE = 1_500_000
RANDOM = random.Random(1).randbytes(SIZE)
REPEATED = random.Random(2).randbytes(300_000) * 5  # xorbs come again in it
Span = tuple[int, int] | None


class Sender:
    """alice with the real client."""

    def __init__(self, world: Any, live: str, folder: Path) -> None:
        self.world, self.folder = world, folder
        self.api = HfApi(endpoint=live, token=world.tokens["alice"])

    def send(self, content: bytes, name: str = "a.bin", repo: str = "acme/m", **about: Any) -> str:
        """Upload a file; its Xet hash ("": it has none)."""
        self.api.create_repo(repo, exist_ok=True, **about)
        self.api.upload_file(path_or_fileobj=content, path_in_repo=name, repo_id=repo)
        return self.hash(name, repo)

    def hash(self, name: str = "a.bin", repo: str = "acme/m") -> str:
        return self.api.get_paths_info(repo, name)[0].xet_hash or ""

    def fetch(self, name: str = "a.bin", repo: str = "acme/m", **about: Any) -> bytes:
        cache = self.folder / f"cache{random.random()}"
        return Path(self.api.hf_hub_download(repo, name, cache_dir=cache, **about)).read_bytes()


class Reader:
    """A client that was written from the specification, without hf_xet."""

    def __init__(self, world: Any, repo: str = "acme/m", user: str | None = "alice") -> None:
        self.world = world
        told = world.ask("GET", f"/api/models/{repo}/xet-read-token/main", user).json()
        self.address, self.token = told["casUrl"], told["accessToken"]

    def ask(self, name: str, span: Span = None, version: str = "v1") -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        if span:
            headers["Range"] = f"bytes={span[0]}-{span[1] - 1}"
        return self.world.client.get(
            f"{self.address}/{version}/reconstructions/{name}", headers=headers
        )

    def fetch(self, url: str, start: int, last: int) -> Any:
        headers = {"Range": f"bytes={start}-{last}"}
        return self.world.client.get(url, headers=headers)

    def read(self, name: str, span: Span = None, version: str = "v1") -> bytes:
        """The bytes from the first term's offset on; they may go on after the span's end."""
        told = self.ask(name, span, version).json()
        out = []
        for term in told["terms"]:
            first, last = term["range"]["start"], term["range"]["end"]
            if version == "v1":
                [place] = told["fetch_info"][term["hash"]]
                chunks, url, part = place["range"], place["url"], place["url_range"]
            else:
                [place] = told["xorbs"][term["hash"]]
                url, [parts] = place["url"], place["ranges"]
                chunks, part = parts["chunks"], parts["bytes"]
            answer = self.fetch(url, part["start"], part["end"])
            assert answer.status_code == 206
            assert len(answer.content) == part["end"] - part["start"] + 1
            plain = unpacked(answer.content)
            assert len(plain) == chunks["end"] - chunks["start"]
            mine = b"".join(plain[first - chunks["start"] : last - chunks["start"]])
            assert len(mine) == term["unpacked_length"]
            out.append(mine)
        return b"".join(out)[told["offset_into_first_range"] :]


def unpacked(data: bytes) -> list[bytes]:
    """The chunks of a xorb, or of a part of one."""
    found, at = [], 0
    while at < len(data):
        packed, size = (int.from_bytes(data[at + n : at + n + 3], "little") for n in (1, 5))
        assert data[at] == data[at + 4] == 0 and packed == size
        found.append(data[at + 8 : at + 8 + size])
        at += 8 + packed
    return found
