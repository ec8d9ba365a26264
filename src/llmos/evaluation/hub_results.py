"""Signed results of a hub, fetched to be ranked here: each signature is checked again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx2 as httpx

from llmos.errors import UsageError

SECONDS = 60.0
MOST_PAGES = 1000


def fetch_results(hub: str, folder: Path) -> tuple[list[Path], dict[str, str]]:
    """The results that the hub at this address shows, as files in `folder`; and whom it says the
    keys belong to that were not revoked when they signed.

    The token of HF_TOKEN is sent, where there is one: it shows those of private models too.
    Raises `UsageError` for a hub that cannot be reached or does not answer as one.
    """
    token = os.environ.get("HF_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    files: list[Path] = []
    signers: dict[str, str] = {}
    address: str | None = f"{hub.rstrip('/')}/api/results?limit=20&record=1"
    try:
        with httpx.Client(headers=headers, timeout=SECONDS) as client:
            for _ in range(MOST_PAGES):
                if address is None:
                    break
                answer = client.get(address).raise_for_status()
                for shown in answer.json():
                    files.append(_kept(shown["record"], folder / f"{len(files):08d}.json"))
                    signer = shown["signer"]
                    if signer["account"] and signer["revoked_at"] is None:
                        signers[signer["public_key"]] = signer["account"]
                address = answer.links.get("next", {}).get("url")
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
        raise UsageError(f"{hub} gives no results ({error}): name the address of a hub") from error
    return files[::-1], signers  # the oldest first: the last of several counts


def _kept(record: dict[str, Any], path: Path) -> Path:
    if not {"signer", "signature"} <= record.keys():
        raise ValueError("a result without its signature")
    path.write_text(json.dumps(record), encoding="utf-8")
    return path
