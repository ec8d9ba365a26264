"""Names of repositories, accounts, references and paths: what is allowed."""

from __future__ import annotations

import re
import unicodedata

from llmos.hub.errors import bad_request, unprocessable

NAME = re.compile(r"(?!.*(\.git$|\.ipynb$|--|\.\.))[A-Za-z0-9_](?:[\w.\-]{0,94}[\w])?", re.ASCII)
REFERENCE = re.compile(r"(?!.*(\.\.|//|@\{|\.lock$|/$))[\w][\w./\-]{0,200}", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")
# fmt: off
RESERVED = frozenset(
    {
        "admin",
        "api",
        "assets",
        "blob",
        "blog",
        "collections",
        "commit",
        "commits",
        "datasets",
        "device",
        "discussions",
        "docs",
        "files",
        "health",
        "healthz",
        "help",
        "hub",
        "invite",
        "join",
        "leaderboard",
        "llmos",
        "login",
        "logout",
        "members",
        "metrics",
        "models",
        "new",
        "notifications",
        "oauth",
        "organizations",
        "orgs",
        "pricing",
        "raw",
        "refs",
        "resolve",
        "results",
        "robots",
        "runs",
        "search",
        "settings",
        "signup",
        "spaces",
        "static",
        "tasks",
        "tree",
        "users",
        "xet",
        "_lfs",
        "none",
        "null",
    }
)
# fmt: on
# Words that follow a short name in addresses (/api/models/gpt2/refs): no repository's name.
ACTIONS = frozenset(
    {"auth-check", "branch", "collections", "commit", "commits", "discussions", "duplicate", "like"}
    | {"likers", "paths-info", "preupload", "raw", "refs", "resolve", "revision", "settings"}
    | {"super-squash", "tag", "tree", "user-access-request", "xet-read-token", "xet-write-token"}
)
LONGEST_PATH = 1000  # bytes
LONGEST_PART = 255


def checked_name(name: object, what: str = "name") -> str:
    """A name of a repository or account. Raises `HubError` 400."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise bad_request(
            "Invalid {what}: {name}: use letters, digits, - _ and . (at most 96, no -- or .., not "
            "ending in .git)",
            what=what,
            name=repr(str(name)[:100]),
        )
    return name


def checked_repo_name(name: object) -> str:
    """A name that a repository may take (without its owner's). Raises `HubError` 400."""
    checked = checked_name(name, "repo name")
    if checked.lower() in ACTIONS:
        raise bad_request(f"{checked} is a word of the hub's own addresses: choose another name")
    return checked


def checked_account_name(name: object) -> str:
    """A name that an account may take: also none that is a part of addresses."""
    checked = checked_name(name, "account name")
    if checked.lower() in RESERVED:
        raise bad_request(f"{checked} is a word of the hub's own addresses: choose another name")
    return checked


def checked_reference(name: object) -> str:
    """A name for a branch or tag. Raises `HubError` 400."""
    if (
        not isinstance(name, str)
        or not REFERENCE.fullmatch(name)
        or name.startswith("refs/")
        or COMMIT.fullmatch(name)  # it would look like one
    ):
        raise bad_request(f"Invalid reference name: {str(name)[:100]!r}")
    return name


def checked_path(path: object, *, folder: bool = False) -> str:
    """A path within a repository. Raises `HubError` 422 for whatever could mean another place:
    `..`, `.`, `\\`, `.git`, control characters, look-alikes of those, over-long names."""
    if not isinstance(path, str):
        raise unprocessable(f"a path must be text, not {path!r}")
    given = path
    path = path.removesuffix("/") if folder else path
    shown = given[:120].encode("unicode_escape").decode()
    if not path or len(path.encode(errors="replace")) > LONGEST_PATH:
        raise unprocessable(f"Invalid path (empty, or over {LONGEST_PATH} bytes): {shown}")
    plainly = path.isascii() and path.isprintable()  # most are, and need no look at each letter
    if not plainly and any(unicodedata.category(one) in ("Cc", "Cs", "Cf") for one in path):
        raise unprocessable(f"Invalid path (control or invisible characters): {shown}")
    if "\\" in path or "\\" in unicodedata.normalize("NFKC", path):
        raise unprocessable(f"Invalid path (backslash): {shown}")
    for part in path.split("/"):
        plain = unicodedata.normalize("NFKC", part)
        if not part or "/" in plain or len(part.encode()) > LONGEST_PART:
            raise unprocessable(f"Invalid path (an empty or over-long part): {shown}")
        if plain in (".", "..") or plain.strip(" .") == "" or _git_folder(plain):
            raise unprocessable(f"Invalid path: {shown}")
    return path


def _git_folder(part: str) -> bool:
    """`.git` as any file system might read it: other case, trailing dots and spaces, short name."""
    return part.lower().rstrip(". ") in (".git", "git~1") or part.lower().startswith(".git::")
