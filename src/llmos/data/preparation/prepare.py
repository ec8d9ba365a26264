"""The preparation from end to end: plan, clean, tell duplicates, write, finish.

    card = prepare(Settings(sources=("texts",)), Path("prepared"))

What is done stays done: a call that was killed goes on where it stood when it is made again, and
leaves the same bytes, whatever the number of workers.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from llmos.data.card import CARD_JSON, read_card
from llmos.data.preparation import cleaning, finishing, writing
from llmos.data.preparation.chain import Chain
from llmos.data.preparation.executors import Progress, Stage, Where
from llmos.data.preparation.places import Places, read_json, write_json
from llmos.data.preparation.settings import Settings
from llmos.data.preparation.tokens import TokenCounter
from llmos.data.reading.chunks import plan
from llmos.errors import DataError
from llmos.records import JSON
from llmos.storage import exclusive_lock, sha256_hex

LOCK = ".lock"


def _silent(stage: str, done: int, tasks: int) -> None:
    """No progress is told."""


def prepare(
    settings: Settings,
    out: Path,
    where: Where | None = None,
    *,
    restart: bool = False,
    progress: Progress = _silent,
) -> JSON | None:
    """Prepare the sources into the folder `out`; its data card, None where Slurm goes on with it.

    `restart` throws away what an unfinished preparation in `out` has done. Raises `DataError`
    for sources without text, a folder that holds something else, sources that changed since an
    unfinished preparation began; `StorageError` when the disk is full (what was done is kept).
    """
    places = Places(out)
    files = settings.hashes()
    digest = settings.sha256(files)
    # What the member can mend is told before anything is written.
    Chain(settings)
    TokenCounter(settings.tokenizer)
    if (out / CARD_JSON).exists():
        return _done(places, digest)
    held = f"another process is preparing {out}: wait for it, or name another folder"
    with exclusive_lock(out / LOCK, held):
        if restart:
            _clear(places)
        stages = _begin(places, settings, digest, files)
        if not (where or Where()).run(stages, progress):
            return None
        card = read_card(out)
        shutil.rmtree(places.work)
    (out / LOCK).unlink()
    return card


def _done(places: Places, digest: str) -> JSON:
    card = read_card(places.folder)
    if card["made"]["settings_sha256"] != digest:
        raise DataError(
            f"{places.folder} holds a preparation with other settings: name another folder, or "
            "remove this one"
        )
    if places.work.exists():
        shutil.rmtree(places.work)  # killed between the card and the end, or done by Slurm
    (places.folder / LOCK).unlink(missing_ok=True)
    return card


def _clear(places: Places) -> None:
    for path in (places.work, places.documents(0).parent, places.folder / "dropped"):
        if path.exists():
            shutil.rmtree(path)


def _begin(
    places: Places, settings: Settings, digest: str, files: Mapping[str, str]
) -> list[Stage]:
    """Plan, or take up the plan of a call before."""
    found = plan(settings.sources, limit=settings.chunk_bytes)
    plan_sha256 = sha256_hex(found.to_json().encode())
    if places.settings.exists():
        begun = read_json(places.settings)
        for name, now in (("settings", digest), ("sources", plan_sha256)):
            if begun["sha256" if name == "settings" else "plan_sha256"] != now:
                raise DataError(
                    f"{places.folder} holds an unfinished preparation, whose {name} were others: "
                    "give the same again, or start anew with --restart"
                )
    else:
        others = sorted(p.name for p in places.folder.iterdir() if not p.name.startswith("."))
        if others:
            raise DataError(
                f"{places.folder} is not empty (it has {others[0]}): name a new folder with --out"
            )
        for chunk in found.chunks:
            write_json(places.chunk(chunk.number), asdict(chunk))
        begun = {
            "settings": settings.to_json(),
            "sha256": digest,
            "files": dict(files),
            "plan_sha256": plan_sha256,
            "chunks": len(found.chunks),
            "problems": [[problem.path, problem.reason] for problem in found.problems],
            "synthetic": any(card.synthetic for card in found.cards),
        }
        write_json(places.settings, begun)
    work, chunks = places.work, begun["chunks"]
    return [
        Stage(cleaning.STAGE, cleaning.clean_chunk, work, chunks),
        Stage(finishing.DEDUP_STAGE, finishing.mark_duplicates, work, 1),
        Stage(writing.STAGE, writing.write_chunk, work, chunks),
        Stage(finishing.STAGE, finishing.finish, work, 1),
    ]
