"""Commit to a hub until it is gone: `sending.py ADDRESS TOKEN REPO NOTES SEED`.

Each commit adds a small file, a file in a folder, and one that travels as LFS or through Xet, all
made from one number. What the hub has acknowledged is noted in NOTES: commit and number.
"""

from __future__ import annotations

import io
import itertools
import os
import random
import sys
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.utils import disable_progress_bars


def contents(number: int) -> dict[str, bytes]:
    """The files of a commit, by path."""
    draw = random.Random(number)
    return {
        f"small/{number}.txt": f"number {number}".encode(),
        f"{number}.json": b"%d" % number * 100,
        f"large/{number}.bin": draw.randbytes(draw.randrange(1, 300_000)),
    }


def main() -> None:
    """Commit, forever."""
    address, token, repo, notes, seed = sys.argv[1:]
    disable_progress_bars()
    api = HfApi(endpoint=address, token=token)
    print("go", flush=True)
    with Path(notes).open("a") as file:
        for count in itertools.count():
            number = int(seed) * 10_000 + count
            files = contents(number)
            added = [
                CommitOperationAdd(path, io.BytesIO(data) if count % 2 else data)
                for path, data in files.items()
            ]
            made = api.create_commit(repo, added, commit_message=f"number {number}")
            file.write(f"{made.oid} {number}\n")
            file.flush()
            os.fsync(file.fileno())


if __name__ == "__main__":
    main()
