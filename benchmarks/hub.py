"""The hub against nginx, a plain uvicorn and (given --prototype FILE) another hub, in one run.

    python benchmarks/hub.py [--prototype hub_prototype.py] [--turns 5] [--quick] [--only files,...]

All servers run beside each other and take turns; a figure is the median over the turns.

files    MB/s of a file of 500 MiB that is in memory: the hub, nginx, uvicorn in pieces of 64 KiB
small    requests a second of eight clients: HEAD of a file, facts of a repository, commits
uploads  MB/s of a file sent by LFS (one PUT) and by Xet (huggingface_hub)
listing  milliseconds of page 1 with 100,000 repositories and with 100
commit   bytes that the hub writes for a commit of one file into a repository of 100,000
crowd    200 clients for 60 s: reads, listings, commits; how many errors
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hub_servers import TOKEN, Server, hub_in, nginx_in, plain_in, prototype_in

MIB = 1 << 20
XET = """
import sys
from huggingface_hub import HfApi
api = HfApi(endpoint=sys.argv[1], token=sys.argv[2])
api.upload_file(path_or_fileobj=sys.argv[3], path_in_repo=sys.argv[4], repo_id="root/big")
"""


def commit_body(files: dict[str, bytes], large: dict[str, str] | None = None) -> bytes:
    lines: list[Any] = [{"key": "header", "value": {"summary": "benchmark"}}]
    for path, content in files.items():
        value = {"path": path, "encoding": "base64", "content": base64.b64encode(content).decode()}
        lines.append({"key": "file", "value": value})
    for path, oid in (large or {}).items():
        lines.append({"key": "lfsFile", "value": {"path": path, "algo": "sha256", "oid": oid}})
    return b"\n".join(json.dumps(line).encode() for line in lines)


def make_repo(server: Server, name: str) -> None:
    server.ask("POST", "/api/repos/create", {"name": name, "type": "model", "organization": "root"})


def send_lfs(server: Server, repo: str, file: Path) -> float:
    """Seconds that the PUT of a file takes; commits it as `file.bin`."""
    with file.open("rb") as opened:
        oid = hashlib.file_digest(opened, "sha256").hexdigest()
    size = file.stat().st_size
    asked = {"operation": "upload", "objects": [{"oid": oid, "size": size}]}
    found = server.ask("POST", f"/root/{repo}.git/info/lfs/objects/batch", asked)
    href = urlsplit(found["objects"][0]["actions"]["upload"]["href"])
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    started = time.perf_counter()
    with file.open("rb") as opened:
        connection.blocksize = MIB
        headers = {"Content-Length": str(size)}
        connection.request("PUT", f"{href.path}?{href.query}", opened, headers)
        assert connection.getresponse().status == 200
    seconds = time.perf_counter() - started
    server.ask("POST", f"/api/models/root/{repo}/commit/main", commit_body({}, {"file.bin": oid}))
    return seconds


def fetch(port: int, path: str) -> float:
    """MB/s of a GET."""
    buffer = bytearray(MIB)
    with socket.create_connection(("127.0.0.1", port)) as line:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        line.sendall(request.encode())
        total, started = 0, time.perf_counter()
        while count := line.recv_into(buffer):
            total += count
        seconds = time.perf_counter() - started
    assert total > MIB, bytes(buffer[:300])
    return total / 1e6 / seconds


def random_file(path: Path, mib: int) -> Path:
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(MIB))
    return path


def in_turns(turns: int, sides: dict[str, Callable[[], float]]) -> dict[str, float]:
    """The median of each side's figures; sides take turns."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(turns):
        for name, side in sides.items():
            found[name].append(side())
    return {name: statistics.median(values) for name, values in found.items()}


def show(title: str, unit: str, found: dict[str, float]) -> None:
    first, *others = found
    ratios = ", ".join(
        f"{found[first] / found[other]:.2f} x {other}" for other in others if found[other]
    )
    figures = "  ".join(f"{name} {value:,.1f}" for name, value in found.items())
    print(f"{title:<24} {figures} {unit}   {ratios}", flush=True)


def files(folder: Path, options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        hub = hub_in(stack, folder / "hub")
        make_repo(hub, "big")
        file = random_file(folder / "file", 100 if options.quick else 500)
        send_lfs(hub, "big", file)
        plain = plain_in(stack, file)
        sides: dict[str, Callable[[], float]] = {
            "hub": lambda: fetch(hub.port, "/root/big/resolve/main/file.bin")
        }
        if nginx := nginx_in(stack, folder / "nginx", folder):
            sides["nginx"] = lambda: fetch(nginx.port, "/file")
        sides["uvicorn 64 KiB"] = lambda: fetch(plain.port, "/file")
        for side in sides.values():
            side()
        show("file GET", "MB/s", in_turns(options.turns, sides))


async def one_client(
    port: int, requests: Iterator[bytes], until: float, seen: Counter[int]
) -> None:
    """Send one request after another on one connection; count the answers by status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < until:
        request = next(requests)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(x[15:]) for x in lines if x.startswith(b"content-length:")), 0)
        if length and not request.startswith(b"HEAD"):
            await reader.readexactly(length)
        seen[int(head[9:12])] += 1
    writer.close()


def http_request(method: str, path: str, body: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
    head += "Content-Type: application/x-ndjson\r\n" if body else ""
    return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


def rate(
    port: int, makers: list[Callable[[], Iterator[bytes]]], seconds: float
) -> tuple[float, Counter[int]]:
    """Answers a second to all clients together, and how many there were by status."""
    seen: Counter[int] = Counter()

    async def all_clients() -> None:
        until = time.perf_counter() + seconds
        await asyncio.gather(*(one_client(port, make(), until, seen) for make in makers))

    started = time.perf_counter()
    asyncio.run(all_clients())
    return sum(seen.values()) / (time.perf_counter() - started), seen


def again(request: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter(lambda: request, None)


def commits(repo: str, client: int) -> Callable[[], Iterator[bytes]]:
    def make() -> Iterator[bytes]:
        number = 0
        while True:
            number += 1
            body = commit_body({f"{client}/{number % 50}.txt": os.urandom(40)})
            yield http_request("POST", f"/api/models/root/{repo}/commit/main", body)

    return make


def hub_and_prototype(stack: ExitStack, folder: Path, options: argparse.Namespace) -> list[Server]:
    """The hub, and the other one where it is named."""
    servers = [hub_in(stack, folder / "hub")]
    if options.prototype:
        servers.append(prototype_in(stack, folder / "prototype", options.prototype))
    return servers


def small(folder: Path, options: argparse.Namespace) -> None:
    seconds = 1.0 if options.quick else 4.0
    with ExitStack() as stack:
        servers = hub_and_prototype(stack, folder, options)
        for server in servers:
            make_repo(server, "s")
            server.ask("POST", "/api/models/root/s/commit/main", commit_body({"a.txt": b"a"}))
            for client in range(8):
                make_repo(server, f"c{client}")
        kinds: dict[str, list[Callable[[], Iterator[bytes]]]] = {
            "HEAD of a file": [again(http_request("HEAD", "/root/s/resolve/main/a.txt"))] * 8,
            "repository's facts": [again(http_request("GET", "/api/models/root/s"))] * 8,
            "commits, 8 repos": [commits(f"c{client}", client) for client in range(8)],
            "commits, 1 client": [commits("s", 0)],
        }
        for title, makers in kinds.items():
            sides = {
                server.name: (lambda port=server.port, m=makers: rate(port, m, seconds)[0])
                for server in servers
            }
            show(title, "/s", in_turns(options.turns, sides))


def uploads(folder: Path, options: argparse.Namespace) -> None:
    mib = 64 if options.quick else 256
    with ExitStack() as stack:
        servers = hub_and_prototype(stack, folder, options)
        for server in servers:
            make_repo(server, "big")
        number = 0

        def lfs(server: Server) -> float:
            file = random_file(folder / "up", mib)
            return mib * MIB / 1e6 / send_lfs(server, "big", file)

        def xet(server: Server) -> float:
            nonlocal number
            number += 1
            file = random_file(folder / "up", mib)
            home = str(folder / f"home{number}")
            environment = {**os.environ, "HF_HOME": home, "HF_HUB_OFFLINE": "0"}
            command = [sys.executable, "-c", XET, server.address, TOKEN, str(file), f"{number}.bin"]
            started = time.perf_counter()
            subprocess.run(command, env=environment, check=True, capture_output=True)
            return mib * MIB / 1e6 / (time.perf_counter() - started)

        for title, way in (("LFS PUT", lfs), ("Xet, with the client", xet)):
            sides = {server.name: (lambda s=server, w=way: w(s)) for server in servers}
            show(title, "MB/s", in_turns(options.turns, sides))


def listing(folder: Path, options: argparse.Namespace) -> None:
    many = "10000" if options.quick else "100000"
    with ExitStack() as stack:
        sides: dict[str, Callable[[], float]] = {}
        for count in (many, "100"):
            server = hub_in(stack, folder / count, count)
            for query in ("limit=100", "limit=100&sort=downloads", "limit=100&author=root"):
                sides[f"{count} {query[10:]}"] = lambda s=server, q=query: milliseconds(s, q)
        found = in_turns(10 * options.turns, sides)
        for query in ("", "sort=downloads", "author=root"):
            both = {f"{count} repos": found[f"{count} {query}"] for count in (many, "100")}
            show(f"listing {query}", "ms", both)


def milliseconds(server: Server, query: str) -> float:
    started = time.perf_counter()
    found = server.ask("GET", f"/api/models?{query}")
    assert len(found) == 100, len(found)
    return 1000 * (time.perf_counter() - started)


def written(server: Server) -> int:
    """Bytes that a process has given to write calls on files."""
    lines = Path(f"/proc/{server.process}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar:"))


def commit(folder: Path, options: argparse.Namespace) -> None:
    count = 5_000 if options.quick else 100_000
    with ExitStack() as stack:
        hub = hub_in(stack, folder / "hub")
        for layout, width in (("all in one folder", count), ("1,000 a folder", 1000)):
            make_repo(hub, f"w{width}")
            path = f"/api/models/root/w{width}/commit/main"
            for start in range(0, count, 20_000):
                some = range(start, min(start + 20_000, count))
                names = (f"{n // width}/{n}.txt" if width < count else f"{n}.txt" for n in some)
                hub.ask("POST", path, commit_body(dict.fromkeys(names, b"same")))
            before = written(hub)
            for number in range(20):
                name = "0/0.txt" if width < count else "0.txt"
                hub.ask("POST", path, commit_body({name: str(number).encode()}))
            print(
                f"{layout:<24} {(written(hub) - before) / 20 / 1000:,.1f} kB written for a commit"
            )


def crowd(folder: Path, options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        hub = hub_in(stack, folder / "hub")
        for name in ("s", *(f"c{client}" for client in range(10))):
            make_repo(hub, name)
        hub.ask("POST", "/api/models/root/s/commit/main", commit_body({"a.bin": bytes(100_000)}))
        reads = [
            http_request("HEAD", "/root/s/resolve/main/a.bin"),
            http_request("GET", "/root/s/resolve/main/a.bin"),
            http_request("GET", "/api/models/root/s"),
            http_request("GET", "/api/models?limit=50"),
        ]
        makers = [again(reads[client % 4]) for client in range(190)]
        makers += [commits(f"c{client}", client) for client in range(10)]
        found, seen = rate(hub.port, makers, 10 if options.quick else 60)
        wrong = sum(count for status, count in seen.items() if status >= 400)
        print(f"{'200 clients':<24} {found:,.0f} answers a second, {wrong} errors {dict(seen)}")


PARTS = {part.__name__: part for part in (files, small, uploads, listing, commit, crowd)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--prototype", type=Path)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between")
    options = parser.parse_args()
    for name in options.only.split(","):
        with tempfile.TemporaryDirectory() as place:
            PARTS[name](Path(place), options)


if __name__ == "__main__":
    main()
