"""Run huggingface_hub's own tests, from an unpacked source archive, against a fresh hub:

    python tests/hub/acceptance/run_theirs.py /tmp/huggingface_hub-2.4.0

With `--prototype FILE` they run against that file (a Starlette application `app`) instead, for a
baseline. What is left out, and why, is in left_out.py. Their code stays in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from left_out import FILES  # noqa: E402

PROTOTYPE = 2025  # of the same tests of 2.4.0 passed with the prototype that came before
FIRST_COUNT = 585  # that passed with it by an older count, of fewer tests
PLUGINS = ["pytest-mock", "pytest-asyncio", "jedi", "parso"]
USERS = {
    "__DUMMY_HUB_USER__": ("hf_HubCITokenXXXXXXXXXXXXXXXXXXXXX", "Dummy User"),
    "DVUser": ("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", "DVUser"),
    "EnterpriseAdmin": ("hf_enterprise_admin_token", "EnterpriseAdmin"),
}
ORGS = {
    "valid_org_hub": {"__DUMMY_HUB_USER__": "admin", "DVUser": "reader"},
    "EnterpriseOrgPrivate": {"EnterpriseAdmin": "admin"},
}
FULL_NAMES = {"valid_org_hub": "Dummy Hub Org", "EnterpriseOrgPrivate": "EnterpriseOrgPrivate"}


def main() -> int:
    """Run, print the count, and return 0 when no fewer passed than `--least` (of a choice of
    tests: when none failed)."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("source", type=Path, help="an unpacked huggingface_hub source archive")
    parser.add_argument("--prototype", type=Path, help="run against this application instead")
    parser.add_argument("--least", type=int, default=PROTOTYPE + 1, help="tests that must pass")
    parser.add_argument("--report", type=Path, help="write each test's outcome here, as JSON")
    parser.add_argument("--pytest", default="", help="further options for pytest, as one text")
    options = parser.parse_args()
    if not (options.source / "tests" / "testing_constants.py").is_file():
        parser.error(f"{options.source} has no tests/testing_constants.py: unpack a source archive")
    with tempfile.TemporaryDirectory(prefix="hf-tests-") as name:
        work = Path(name)
        _copy(options.source / "tests", work / "tests")
        extra = work / "extra"
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*install, "--target", str(extra), *PLUGINS], check=True)
        hub = _prototype(options.prototype, work) if options.prototype else _hub(work)
        with hub as address:
            outcomes, left_out = _run(work, address, shlex.split(options.pytest))
    if options.report:
        options.report.write_text(json.dumps(outcomes, indent=1, sort_keys=True))
    counts = {kind: list(outcomes.values()).count(kind) for kind in ("passed", "failed", "skipped")}
    print("\nleft out:")
    for name, reason in FILES.items():
        print(f"  {name}: {reason}")
    for reason, count in sorted(left_out.items(), key=lambda pair: -pair[1]):
        print(f"  {count:5}  {reason}")
    print("failed:", *sorted(one for one, kind in outcomes.items() if kind == "failed"), sep="\n  ")
    against = options.prototype.name if options.prototype else "this hub"
    print(f"\n{against}: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    print(f"with the prototype {PROTOTYPE} of these passed; {FIRST_COUNT} by its own, older count")
    if options.pytest:  # only some of them were chosen
        return int(counts["failed"] > 0)
    return int(counts["passed"] < options.least)


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("conftest.py", "__pycache__"))
    (target / "__init__.py").touch()
    shutil.copy(HERE / "theirs_conftest.py", target / "conftest.py")
    shutil.copy(HERE / "left_out.py", target / "left_out.py")


@contextmanager
def _hub(work: Path) -> Iterator[str]:
    from sqlalchemy import update

    from llmos.hub.accounts import people
    from llmos.hub.accounts.rights import account_row
    from llmos.hub.database.tables import accounts
    from llmos.hub.server import opened
    from llmos.hub.settings import HubSettings

    folder = work / "hub"
    hub = opened(HubSettings(folder=folder))
    with hub.database.write() as connection:
        for name, (token, full_name) in USERS.items():
            row = people.make_account(connection, "tests", name, full_name=full_name)
            people.make_token(connection, "tests", row, value=token)
        for name, members in ORGS.items():
            org = people.make_account(connection, "tests", name, "org", full_name=FULL_NAMES[name])
            for user, role in members.items():
                row = account_row(connection, user)
                assert row is not None
                people.set_role(connection, "tests", org, row, role)
        private = accounts.c.name == "EnterpriseOrgPrivate"
        connection.execute(update(accounts).where(private).values(private_default=True))
    hub.close()
    port = _free_port()
    command = [sys.executable, "-m", "llmos.cli.main", "hub", "start"]
    command += ["--folder", str(folder), "--port", str(port)]
    limits = {"LLMOS_HUB_REQUESTS_PER_MINUTE": "0", "LLMOS_HUB_LOG": "warning"}
    with _served(command, port, work, limits) as address:
        yield address


@contextmanager
def _prototype(file: Path, work: Path) -> Iterator[str]:
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", f"{file.stem}:app", "--port", str(port)]
    command += ["--log-level", "warning"]
    place = str(file.resolve().parent)
    around = {"HUB_CI": "1", "HUB_DATA": str(work / "prototype"), "PYTHONPATH": place}
    with _served(command, port, work, around) as address:
        yield address


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _served(command: list[str], port: int, work: Path, around: dict[str, str]) -> Iterator[str]:
    log = work / "server.log"
    with log.open("w") as file:
        server = subprocess.Popen(
            command, env={**os.environ, **around}, stdout=file, stderr=subprocess.STDOUT, cwd=work
        )
    try:
        address = f"http://localhost:{port}"
        for _ in range(600):
            if server.poll() is not None:
                sys.exit(f"the hub did not start:\n{log.read_text()}")
            try:
                urllib.request.urlopen(f"{address}/health")
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.1)
        yield address
        print(log.read_text()[-20_000:], file=sys.stderr)
    finally:
        server.terminate()
        server.wait()


def _run(work: Path, address: str, more: list[str]) -> tuple[dict[str, str], dict[str, int]]:
    report, left_out = work / "report.xml", work / "left_out.json"
    gone = re.compile("HF_|HUGGING|.*PROXY$", re.IGNORECASE)
    kept = {name: value for name, value in os.environ.items() if not gone.match(name)}
    environment = {
        **kept,
        "HF_ENDPOINT": address,
        "HF_HOME": str(work / "home"),
        "DISABLE_SYMLINKS_IN_WINDOWS_TESTS": "1",
        "NO_COLOR": "1",
        "HF_TESTS_LEFT_OUT": str(left_out),
        "PYTHONPATH": str(work / "extra"),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-rN", "--tb=short", "-p", "no:cacheprovider"]
    command += ["-c", os.devnull, f"--rootdir={work}", f"--junitxml={report}", *more, "tests"]
    subprocess.run(command, cwd=work, env=environment, check=False)
    return _outcomes(report), json.loads(left_out.read_text())


def _outcomes(report: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = re.sub(r"^tests\.", "", case.get("classname", "")) + f"::{case.get('name')}"
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            found[name] = "failed"
        else:
            found.setdefault(name, "skipped" if "skipped" in kinds else "passed")
    return found


if __name__ == "__main__":
    sys.exit(main())
