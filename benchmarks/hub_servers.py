"""Servers that benchmarks/hub.py compares: the hub, the prototype, nginx, a plain uvicorn."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOKEN = "hf_benchmark_token"
HUB = """
import sys
from pathlib import Path
from llmos.hub import server
from llmos.hub.accounts import people
from llmos.hub.settings import HubSettings
settings = HubSettings(folder=Path(sys.argv[1]), port=int(sys.argv[2]), log="warning",
                       requests_per_minute=0, quota=0)
hub = server.opened(settings)
with hub.database.write() as connection:
    row = people.make_account(connection, "benchmark", "root", admin=True)
    people.make_token(connection, "benchmark", row, value=sys.argv[3])
if len(sys.argv) > 4:
    from llmos.hub.database.tables import repos
    from llmos.hub.repos import making
    from llmos.hub.accounts.rights import Caller
    caller = Caller(id=row.id, name="root", scope="write", admin=True)
    made = making.make_repo(hub, caller, "model", "root/first")
    about = {name: getattr(made, name) for name in made._fields if name != "id"}
    rows = [about | {"full_name": f"root/r{n}", "name_key": f"root/r{n}", "updated_at": n}
            for n in range(int(sys.argv[4]))]
    with hub.database.write() as connection:
        connection.execute(repos.insert(), rows)
hub.close()
server.start(settings, lambda text: None)
"""
PROTOTYPE = """
import sys
sys.path.insert(0, sys.argv[1])
module = __import__(sys.argv[2])
module.add_user("root", sys.argv[4])
import uvicorn
uvicorn.run(module.app, port=int(sys.argv[3]), log_level="critical")
"""
PLAIN = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import FileResponse
from starlette.routing import Route
async def send(request): return FileResponse(sys.argv[1])
uvicorn.run(Starlette(routes=[Route("/file", send)]), port=int(sys.argv[2]), log_level="critical")
"""
NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; user {user};
events {{ }}
http {{ access_log off; sendfile on; tcp_nopush on; client_body_temp_path {folder};
  proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
  scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; location / {{ root {root}; }} }} }}
"""


@dataclass
class Server:
    """A running server."""

    name: str
    port: int
    process: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request with the token; returns the JSON of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        lines = isinstance(body, bytes)
        data = body if lines or body is None else json.dumps(body).encode()
        kind = "application/x-ndjson" if lines else "application/json"
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
        connection.request(method, path, data, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status >= 400:
            raise SystemExit(f"{self.name}: {method} {path}: {answer.status} {text[:300]!r}")
        return json.loads(text) if text[:1] in (b"{", b"[") else text


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(name: str, command: list[str], port: int, **environment: str) -> Iterator[Server]:
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL
    )
    try:
        for _ in range(1200):
            if process.poll() is not None:
                raise SystemExit(f"{name} did not start")
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        yield Server(name, port, process.pid)
    finally:
        process.terminate()
        process.wait()


def hub_in(stack: ExitStack, folder: Path, *more: str) -> Server:
    port = free_port()
    command = [sys.executable, "-c", HUB, str(folder), str(port), TOKEN, *more]
    return stack.enter_context(running("hub", command, port))


def prototype_in(stack: ExitStack, folder: Path, file: Path) -> Server:
    port = free_port()
    place, module = str(file.absolute().parent), file.stem
    command = [sys.executable, "-c", PROTOTYPE, place, module, str(port), TOKEN]
    environment = {"HUB_DATA": str(folder), "HUB_SEED": "0"}
    return stack.enter_context(running("prototype", command, port, **environment))


def plain_in(stack: ExitStack, file: Path) -> Server:
    """Uvicorn, with one file at /file."""
    port = free_port()
    command = [sys.executable, "-c", PLAIN, str(file), str(port)]
    return stack.enter_context(running("uvicorn", command, port))


def nginx_in(stack: ExitStack, place: Path, root: Path) -> Server | None:
    """nginx with the files of the folder `root`; None where it is not installed."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    if not Path(program).exists():
        print("nginx is not installed: left out")
        return None
    port = free_port()
    place.mkdir()
    user = "root" if os.getuid() == 0 else "nobody"
    text = NGINX.format(folder=place, port=port, root=root, user=user)
    (place / "conf").write_text(text)
    command = [program, "-c", str(place / "conf"), "-p", str(place)]
    return stack.enter_context(running("nginx", command, port))
