"""What a member signs for a hub: that it holds a key, and that it agrees to a run's recipe.

Both ends must sign and read the same: the hub checks what the member's command makes here.
"""

from __future__ import annotations

from llmos.records import JSON

AGREEMENT = "agreement"
"""The kind under which a member signs a run's recipe."""
HUB_KEY = "hub_key"
"""The kind under which a key signs the hub's challenge."""
VERSION = 1


def agreement(run: str, member: str, recipe_sha256: str) -> JSON:
    """What a member signs, as kind `agreement`; `run` is the run's full name."""
    return {"version": VERSION, "run": run, "member": member, "recipe_sha256": recipe_sha256}
