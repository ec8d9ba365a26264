"""What is judged: a model folder, a model in a hub's local cache, or a service behind a URL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from llmos.errors import ModelError, UsageError
from llmos.models.engines.engine import Engine
from llmos.models.engines.opening import open_engine
from llmos.models.folders import model_folder
from llmos.provenance.results import MODEL_FILES, model_digest
from llmos.records import JSON
from llmos.storage import sha256_file

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_ARXIV = re.compile(r"(?:arxiv:)?(\d{4}\.\d{4,5}(?:v\d+)?)", re.IGNORECASE)
_EVIDENCE = re.compile(r"^  (recipe_sha256|ledger_head): [\"']?([0-9a-f]{64})[\"']?$", re.MULTILINE)
"""As `provenance.cards` writes them."""
LINKS = ("card", "recipe", "ledger", "paper", "code")


def located(model: str) -> str:
    """The model as an engine opens it: a folder, or a URL.

    Raises `ModelError` for a hub id that is not in the local cache: nothing is fetched.
    """
    if model.startswith(("http://", "https://")) or Path(model).exists():
        return model
    if not _HUB_ID.fullmatch(model):
        raise ModelError(f"{model} is no folder, no hub id and no URL: name a model")
    try:
        from huggingface_hub import snapshot_download

        return str(snapshot_download(model, local_files_only=True))
    except (ImportError, OSError, ValueError) as error:
        raise ModelError(
            f"{model} is neither a folder nor in this machine's cache of the hub: fetch it first "
            f"(hf download {model})"
        ) from error


def opened(
    model: str, links: Sequence[str] = (), engine: Engine | None = None
) -> tuple[Engine, JSON]:
    """The engine for a model, unless one is given, and what a result says of the model.

    Raises `ModelError` and `UsageError` as `located`, `described` and `open_engine` do.
    """
    at = located(model)
    subject = described(model, at, links)
    engine = engine or open_engine(at)
    if subject["kind"] == "url":
        subject["name"] = engine.name  # the service's own, with the model's name
    return engine, subject


def described(model: str, at: str, links: Sequence[str] = ()) -> JSON:
    """What a result says of the model that was found at `at`; links: "paper=2401.00001", ....

    sha256: of the names and hashes of the files that make it; "" for a service, whose model nobody
    outside can tell. Raises `UsageError` for links that are none.
    """
    found = {"name": model, "links": dict(map(_link, links))}
    if at.startswith(("http://", "https://")):
        return {**found, "kind": "url", "sha256": ""}
    folder = model_folder(Path(at))
    # A folder's name is its owner's own; the path to it is nobody's business.
    name = model if at != model else folder.parent.name if folder.name == "model" else folder.name
    return {
        **found,
        "name": name or folder.resolve().name,
        "kind": "folder" if at == model else "hub",
        "sha256": model_sha256(folder),
        **_evidence(folder / "README.md"),
    }


def _evidence(card: Path) -> JSON:
    """The hashes that a card of ours names: of the recipe and of the ledger's last entry."""
    try:
        text = card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    front = text.split("\n---\n", 1)[0] if text.startswith("---\n") else ""
    return dict(_EVIDENCE.findall(front))


def model_sha256(folder: Path) -> str:
    """The hash of a model folder: of the names and the hashes of the files that make the model."""
    return model_digest(
        {
            file.name: sha256_file(file)
            for file in folder.iterdir()
            if file.is_file() and file.suffix in MODEL_FILES
        }
    )


def _link(text: str) -> tuple[str, str]:
    name, _, target = text.partition("=")
    if name not in LINKS or not target:
        raise UsageError(f"the link {text!r} is none: write {'|'.join(LINKS)}=ADDRESS")
    if name == "paper" and (number := _ARXIV.fullmatch(target)):
        return name, f"https://arxiv.org/abs/{number[1]}"
    if not target.startswith("https://"):
        raise UsageError(f"the link {text!r} is not https: give an https address, or an arXiv id")
    return name, target
