"""Files that can run code are found by what they hold; safetensors are read as the library reads
them."""

from __future__ import annotations

import collections
import io
import json
import pickle
import pickletools
import random
import struct
import zipfile
from typing import Any

import numpy as np
import pytest
import safetensors
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from llmos.hub.uploads import dangers, landing, pickles


class Evil:
    def __reduce__(self) -> Any:
        return print, ("ran",)


def _zip(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return made.getvalue()


def _npy(array: np.ndarray) -> bytes:
    made = io.BytesIO()
    np.save(made, array, allow_pickle=True)
    return made.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
    made = io.BytesIO()
    np.savez_compressed(made, **arrays)
    return made.getvalue()


OBJECTS = np.array([{"a": 1}], dtype=object)
DANGEROUS = {
    **{f"pickle {version}": pickle.dumps(Evil(), version) for version in range(6)},
    "nested": pickle.dumps({"a": [1, (2.5, "x", Evil())]}),
    "after a harmless one": pickle.dumps(1) + pickle.dumps(Evil()),
    "ordered": pickle.dumps(collections.OrderedDict(a=1)),
    "numpy scalar": pickle.dumps(np.float32(1)),
    "not whole": pickle.dumps(Evil())[:-1],
    "garbage after": pickle.dumps(Evil()) + b"\0" * 1000,
    "long text before": pickle.dumps(["x" * 100_000, Evil()]),
    "memo": pickletools.optimize(pickle.dumps([Evil(), Evil()], 2)),
    "hand made": b"cos\nsystem\n(S'true'\ntR.",
    "instance": b"(S'true'\nios\nsystem\n.",
    "torch": _zip(archive__data_dot_pkl=b"\x80\x02}q\0.", archive__version=b"3"),
    "npy": _npy(OBJECTS),
    "npz": _npz(fine=np.ones(3), bad=OBJECTS),
    "npy record": _npy(np.zeros(2, dtype=[("a", "<f4"), ("b", "O")])),
}
HARMLESS = {
    "empty": b"",
    "text": b"contents of this\nfile are\nharmless\n",
    "words": b"cat\ndog\nRabbit\nbird\n",
    "code": b"import os\n.\nclass X: pass\n",
    "csv": b"1,2,3\n4,5,6\n",
    "data pickle": pickle.dumps({"a": [1, 2.5, "x", None, b"y", (1,), {2}]}),
    "numbers": np.arange(1000, dtype="<u4").tobytes(),
    "zip": _zip(a_dot_txt=b"x", b__c_dot_pkl=pickle.dumps(Evil())),
    "npy": _npy(np.ones((2, 3))),
    "npy text": _npy(np.array(["One", "O"])),
    "npz": _npz(a=np.ones(3), b=np.zeros(3, dtype="i8")),
    "gguf": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + b"tokenizer.chat_template {% if x %}",
    "safetensors": save({"a": np.ones((2, 3), np.float32)}),
    "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
}


@pytest.mark.parametrize("name", DANGEROUS)
def test_what_can_run_code_is_found(name: str) -> None:
    assert landing.inspect_bytes(DANGEROUS[name]).danger


@pytest.mark.parametrize("name", HARMLESS)
def test_what_cannot_is_left_alone(name: str) -> None:
    assert landing.inspect_bytes(HARMLESS[name]).danger == ""


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_break_the_check(content: bytes) -> None:
    landing.inspect_bytes(content)
    landing.inspect_bytes(b"\x80\x04" + content)
    landing.inspect_bytes(b"PK\x03\x04" + content)
    landing.inspect_bytes(b"\x93NUMPY" + content)


def test_imports_are_those_that_pickletools_names() -> None:
    values = [np.ones(3), collections.Counter("ab"), Evil(), {1: pytest.approx}]
    for version in range(6):
        for value in values:
            content = pickle.dumps(value, version)
            found = pickles.follow(io.BytesIO(content), len(content))
            assert found.whole == 1
            texts: list[str] = []
            names = []
            for operation, argument, _ in pickletools.genops(content):
                if operation.name == "GLOBAL":
                    names.append(argument.replace(" ", "."))
                elif operation.name == "STACK_GLOBAL":
                    names.append(".".join(texts[-2:]))
                elif isinstance(argument, str):
                    texts.append(argument)
            assert [name.rpartition(".")[2] for name in found.imports] == [
                name.rpartition(".")[2] for name in names
            ]


def test_no_count_makes_it_read_more_than_there_is() -> None:
    class Counting(io.BytesIO):
        most = 0

        def read(self, count: int | None = -1) -> bytes:
            self.most = max(self.most, count or 0)
            return super().read(count)

    content = b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x" * 100
    file = Counting(content)
    assert dangers.why_dangerous(file, len(content)) is None
    assert file.most < 100_000


def test_a_bomb_in_an_archive_is_not_unpacked() -> None:
    bomb = _zip(a_dot_npy=b"\x93NUMPY\x01\0" + bytes(50_000_000))
    assert len(bomb) < 100_000
    landing.inspect_bytes(bomb)


def test_parameters_are_counted() -> None:
    tensors = {
        "a": np.ones((2, 3), np.float32),
        "b": np.ones(5, np.float16),
        "c": np.ones((), np.float32),
        "d": np.ones((0, 4), np.int64),
    }
    landed = landing.inspect_bytes(save(tensors, metadata={"format": "pt"}))
    counts = {"F32": 7, "F16": 5, "I64": 0}
    assert landed.parameters == {"parameters": counts, "total": 12}


def _file(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def _tensor(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4)) -> object:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


BROKEN = {
    "cut off": save({"a": np.ones(10)})[:-1],
    "too long": save({"a": np.ones(10)}) + b"x",
    "overlap": _file({"a": _tensor(), "b": _tensor()}, b"1234"),
    "gap": _file({"a": _tensor(offsets=(4, 8))}, bytes(8)),
    "beyond the end": _file({"a": _tensor(shape=(2,), offsets=(0, 8))}, bytes(4)),
    "wrong size": _file({"a": _tensor(shape=(2,))}, bytes(4)),
    "unknown dtype": _file({"a": _tensor("F7")}, bytes(4)),
    "negative": _file({"a": _tensor(shape=(-1,), offsets=(4, 0))}, bytes(4)),
    "no numbers": _file({"a": _tensor(offsets=("0", "4"))}, bytes(4)),
    "a list": _file({"a": [1]}, bytes(4)),
    "no JSON": _file(b"{nope", bytes(4)),
    "header too long": (1 << 62).to_bytes(8, "little") + b"{}",
    "header over the limit": (100_000_001).to_bytes(8, "little") + b"{" + bytes(100),
    "truth": _file({"a": _tensor(shape=(True,))}, bytes(4)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_found_as_the_library_does(name: str, tmp_path) -> None:
    landed = landing.inspect_bytes(BROKEN[name])
    assert landed.parameters is None
    assert landed.broken
    with pytest.raises((safetensors.SafetensorError, OSError)):
        safetensors.deserialize(BROKEN[name])


def _large(world, path: str, content: bytes, user: str = "alice", repo: str = "acme/m") -> Any:
    """Send a file as LFS and commit it."""
    import hashlib

    oid = hashlib.sha256(content).hexdigest()
    asked = {"operation": "upload", "objects": [{"oid": oid, "size": len(content)}]}
    found = world.ask("POST", f"/{repo}.git/info/lfs/objects/batch", user, json=asked)
    assert found.status_code == 200, found.text
    for name, action in found.json()["objects"][0].get("actions", {}).items():
        method, body = ("PUT", content) if name == "upload" else ("POST", b"{}")
        assert world.client.request(method, action["href"], content=body).status_code == 200
    lines = [
        {"key": "header", "value": {"summary": "one file"}},
        {"key": "lfsFile", "value": {"path": path, "algo": "sha256", "oid": oid}},
    ]
    body = "\n".join(json.dumps(line) for line in lines)
    return world.ask("POST", f"/api/models/{repo}/commit/main", user, content=body)


def _refuse(world) -> None:
    from dataclasses import replace

    object.__setattr__(world.hub, "settings", replace(world.hub.settings, pickles="refuse"))


def test_pickles_are_refused_where_that_is_the_rule(world, repo) -> None:
    _refuse(world)
    answer = _large(world, "model.bin", DANGEROUS["torch"])
    assert answer.status_code == 403
    assert "safetensors" in answer.json()["error"]
    unknown = random.Random(3).randbytes(1000)
    assert _large(world, "model.joblib", unknown).status_code == 403
    assert _large(world, "model.bin", unknown).status_code == 200
    assert _large(world, "words.pt", HARMLESS["words"]).status_code == 200
    assert _large(world, "raw.bin", random.Random(1).randbytes(1000)).status_code == 200


def test_a_broken_safetensors_file_is_refused(world, repo) -> None:
    assert _large(world, "a.safetensors", BROKEN["cut off"]).status_code == 422
    assert _large(world, "a.safetensors", HARMLESS["safetensors"]).status_code == 200


def test_quarantined_files_are_kept_for_those_who_manage(world, repo) -> None:
    assert _large(world, "model.bin", DANGEROUS["torch"]).status_code == 200
    for path in ("/acme/m/resolve/main/model.bin",):
        assert world.ask("GET", path, "alice").status_code == 200
        assert world.ask("GET", path, "bob").status_code == 403


def test_nobody_has_a_file_of_others_kept_back(world, repo) -> None:
    content = random.Random(2).randbytes(1000)
    assert _large(world, "raw.bin", content).status_code == 200
    world.ask("POST", "/api/repos/create", "bob", json={"name": "trap"})
    assert _large(world, "raw.pkl", content, "bob", "bob/trap").status_code == 200
    assert world.ask("GET", "/acme/m/resolve/main/raw.bin").status_code == 200
    assert world.ask("GET", "/bob/trap/resolve/main/raw.pkl", "alice").status_code == 403
