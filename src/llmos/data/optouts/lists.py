"""Lists of who opted out, as files: which pages they name.

A list is a file with a domain, an address or the beginning of an address on each line ("#" begins a
comment), or a file that a site itself publishes (see `rules`), in a folder with the name of the
host: example.org/robots.txt, example.org/ai.txt, example.org/.well-known/tdmrep.json. A folder
stands for all files in it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from llmos.data.optouts.addresses import Address, address, domains_of, normal_host, without_www
from llmos.data.optouts.rules import Rule, ai_rule, robots_rule, tdm_rule
from llmos.errors import DataError

SITE_FILES: dict[str, Callable[[str], Rule]] = {
    "robots.txt": robots_rule,
    "ai.txt": ai_rule,
    "tdmrep.json": tdm_rule,
}
_COMMENT = re.compile(r"(^|\s)#.*")
_DOTTED_NUMBERS = re.compile(r"[\d.]+")
_ADVICE = "write example.org, or https://example.org/blog/ for a part of it"


@dataclass
class OptOuts:
    """Pages by host; each value begins with the name of the list that the entry stands in."""

    domains: dict[str, str] = field(default_factory=dict)
    """These hosts and all below them."""
    beginnings: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """What lies at or below these paths, by host without "www."."""
    rules: dict[str, list[tuple[str, Rule]]] = field(default_factory=dict)
    """What the site itself says, by host without "www."."""

    def which(self, url: str) -> str:
        """The name of the first list by which the page at `url` is opted out; "" for none."""
        where = address(url)
        if where is None:
            return ""
        for domain in domains_of(where.host):
            if domain in self.domains:
                return self.domains[domain]
        host = without_www(where.host)
        for name, beginning in self.beginnings.get(host, ()):
            if _lies_below(where.path, beginning):
                return name
        for name, rule in self.rules.get(host, ()):
            if rule(where.path):
                return name
        return ""


def _lies_below(path: str, beginning: str) -> bool:
    """Whether a path is another or continues it at a border: /blog, /blog/a, not /blogger."""
    rest = path.removeprefix(beginning)
    return path.startswith(beginning) and (not rest or beginning[-1] in "/?" or rest[0] in "/?&")


def load(paths: Iterable[str | Path]) -> OptOuts:
    """All lists together.

    Raises `DataError` naming file and line for an entry that is no address, or a public suffix such
    as co.uk, under which lie the sites of many.
    """
    found = [(file, name) for path in paths for file, name in _files(Path(path))]
    # Loaded again when a file has changed.
    stamps = [(file, name, file.stat().st_mtime_ns, file.stat().st_size) for file, name in found]
    return _load(tuple(stamps))


def _files(path: Path) -> list[tuple[Path, str]]:
    """The files of a list with their names as they are reported."""
    if path.is_file():
        in_site = path.name in SITE_FILES
        return [(path, f"{_site(path).name}/{path.name}" if in_site else path.name)]
    if not path.is_dir():
        raise DataError(f"{path} does not exist: name a list of domains that opted out")
    found = (file for file in sorted(path.rglob("*")) if file.is_file())
    named = ((file, file.relative_to(path).as_posix()) for file in found)
    return [(f, name) for f, name in named if f.name in SITE_FILES or "/." not in f"/{name}"]


def _site(file: Path) -> Path:
    """The folder with the name of the host."""
    folder = file.absolute().parent
    return folder.parent if folder.name == ".well-known" else folder


@lru_cache(maxsize=4)
def _load(files: tuple[tuple[Path, str, int, int], ...]) -> OptOuts:
    lists = OptOuts()
    for file, name, _, _ in files:
        try:
            content = file.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{file} cannot be read ({error}): save it as UTF-8 text, readable for this user"
            ) from error
        if file.name in SITE_FILES:
            _read_site_file(lists, file, name, content)
        else:
            _read_list(lists, file, name, content)
    return lists


def _read_site_file(lists: OptOuts, file: Path, name: str, content: str) -> None:
    host = normal_host(_site(file).name.partition(":")[0])
    if "." not in host:
        raise DataError(
            f"{file} does not tell whose it is: put it into a folder with the name of its host, "
            f"such as example.org/{file.name}"
        )
    try:
        rule = SITE_FILES[file.name](content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not in its format ({error}): fetch it again") from error
    lists.rules.setdefault(without_www(host), []).append((name, rule))


def _read_list(lists: OptOuts, file: Path, name: str, content: str) -> None:
    for number, line in enumerate(content.split("\n"), start=1):
        entry = _COMMENT.sub("", line).strip()
        if not entry:
            continue
        try:
            where = _entry(entry)
        except ValueError as error:
            raise DataError(f"{file} line {number}: {entry[:60]!r} {error}") from error
        if where.path == "/":
            lists.domains.setdefault(where.host, name)
        else:
            lists.beginnings.setdefault(where.host, []).append((name, where.path))


def _entry(entry: str) -> Address:
    """The address of an entry. Raises `ValueError` saying what is wrong with it."""
    where = address(re.sub(r"^\*?\.(?=\w)", "", entry))
    if where is None or " " in entry:
        raise ValueError(f"is neither a domain nor an address: {_ADVICE}")
    host = where.host
    if ":" in host or _DOTTED_NUMBERS.fullmatch(host):
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f"is not the address of a host: {_ADVICE}") from None
        return where
    suffixes = _public_suffixes()
    if suffixes.publicsuffix(host) == host:
        raise ValueError(
            "is a public suffix, under which lie the sites of many: name the domains that opted out"
        )
    shorter = without_www(host)
    return Address(host if suffixes.publicsuffix(shorter) == shorter else shorter, where.path)


@lru_cache(maxsize=1)
def _public_suffixes() -> Any:
    """The list of publicsuffix.org. Of its private part (github.io), an entry counts as written."""
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList(only_icann=True)
