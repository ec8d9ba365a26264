"""Which files run code when they are opened: Python's pickles, bare or inside other formats.

A pickle is a program; what it imports, it may call. The program is followed here with a stack of
its own, without importing or building anything, so that a text which happens to begin like a pickle
is not taken for one.
"""

from __future__ import annotations

import pickletools
import re
import struct
import zipfile
from dataclasses import dataclass, field
from typing import Any, BinaryIO

MOST_STEPS = 500_000  # of one file that are followed
LONGEST_TEXT = 1000  # bytes; longer texts are no names of modules
MOST_MEMBERS = 1000  # arrays of an .npz whose heads are read
LARGEST_DIRECTORY = 64 << 20  # bytes of a zip archive's list of members that is read
OPERATIONS = {operation.code.encode("latin-1"): operation for operation in pickletools.opcodes}
COUNTS = {
    pickletools.TAKEN_FROM_ARGUMENT1: "<B",
    pickletools.TAKEN_FROM_ARGUMENT4: "<i",
    pickletools.TAKEN_FROM_ARGUMENT4U: "<I",
    pickletools.TAKEN_FROM_ARGUMENT8U: "<Q",
}
NUMBERS = {1: "<B", 2: "<H", 4: "<I"}
NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
CALLS = ("REDUCE", "OBJ", "NEWOBJ", "NEWOBJ_EX")
MARK = object()


class _Import(str):
    """A class or function that a pickle has fetched."""


class _NoPickle(Exception):
    """What comes next is not a step that a pickle could take."""


@dataclass(slots=True)
class Followed:
    """What following a file's steps has shown."""

    whole: int = 0  # pickles followed to their end
    imports: list[str] = field(default_factory=list)
    called: bool = False  # something imported was called
    too_long: bool = False

    @property
    def runs_code(self) -> bool:
        """Whether opening the file imports something."""
        return self.called or (self.whole > 0 and bool(self.imports))


def why_dangerous(file: BinaryIO, size: int) -> str | None:
    """Why opening this file may run code; None when it does not (or is no pickle at all)."""
    file.seek(0)
    head = file.read(8)
    if head.startswith(b"\x93NUMPY"):
        return "a NumPy array of Python objects (pickle)" if _holds_objects(file) else None
    if head.startswith(b"PK"):
        return _in_zip(file, size)
    followed = follow(file, size)
    if followed.runs_code:
        return f"a pickle that imports {', '.join(sorted(set(followed.imports)))[:200]}"
    if followed.too_long and head[:1] == b"\x80":
        return "a pickle too long to be checked"
    return None


def is_pickle(file: BinaryIO, size: int) -> bool:
    """Whether the file begins with a whole pickle."""
    return follow(file, size).whole > 0


def follow(file: BinaryIO, size: int) -> Followed:
    """Follow the pickles that stand one after another at the start of a file."""
    found = Followed()
    at, steps = 0, MOST_STEPS
    try:
        while at < size:
            file.seek(at)
            steps = _Machine(file, size, found).run(steps)
            at = file.tell()
            found.whole += 1
    except _NoPickle:
        pass  # the end of what is a pickle; what was seen before it counts
    return found


class _Machine:
    """Pickle's stack machine, with texts and imports as values and None for all else."""

    def __init__(self, file: BinaryIO, size: int, found: Followed) -> None:
        self.file, self.size, self.found = file, size, found
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, steps: int) -> int:
        """Follow one pickle to its end; returns how many of the allowed `steps` are left."""
        while True:
            operation = OPERATIONS.get(self.file.read(1))
            if operation is None:
                raise _NoPickle
            if operation.name == "STOP":
                self._pop()
                return steps
            if steps <= 0:
                self.found.too_long = True
                raise _NoPickle
            steps -= 1
            self._step(operation, self._argument(operation))

    def _pop(self) -> Any:
        if not self.stack or self.stack[-1] is MARK:
            raise _NoPickle
        return self.stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        values: list[Any] = []
        while self.stack:
            value = self.stack.pop()
            if value is MARK:
                return values[::-1]
            values.append(value)
        raise _NoPickle

    def _import(self, module: Any, name: Any) -> _Import:
        both = f"{module}.{name}"
        if not isinstance(module, str) or not isinstance(name, str) or not NAME.fullmatch(both):
            raise _NoPickle
        if len(self.found.imports) < 100:
            self.found.imports.append(both)
        return _Import(both)

    def _step(self, operation: Any, argument: Any) -> None:
        name = operation.name
        if name == "GLOBAL":
            self.stack.append(self._import(*argument))
        elif name == "STACK_GLOBAL":
            second = self._pop()
            self.stack.append(self._import(self._pop(), second))
        elif name == "INST":
            self._pop_to_mark()
            self._import(*argument)
            self.found.called = True
            self.stack.append(None)
        elif name.startswith("EXT"):
            self.stack.append(self._import("copyreg", f"extension_{argument}"))
        elif name in CALLS:
            self._call(name)
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self._top()
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self._top()
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            if argument not in self.memo:
                raise _NoPickle
            self.stack.append(self.memo[argument])
        elif name == "DUP":
            self.stack.append(self._top())
        else:
            self._other(operation, argument)

    def _top(self) -> Any:
        value = self._pop()
        self.stack.append(value)
        return value

    def _call(self, name: str) -> None:
        if name == "OBJ":
            values = self._pop_to_mark()
            target = values[0] if values else ""
        else:
            for _ in range(2 if name == "NEWOBJ_EX" else 1):
                self._pop()
            target = self._pop()
        if isinstance(target, _Import):
            self.found.called = True
        elif isinstance(target, str):  # a text cannot be called
            raise _NoPickle
        self.stack.append(None)

    def _other(self, operation: Any, argument: Any) -> None:
        before = operation.stack_before
        if pickletools.markobject in before:
            self._pop_to_mark()
            before = before[: before.index(pickletools.markobject)]
        if operation.name == "POP":
            if not self.stack:
                raise _NoPickle
            self.stack.pop()
            return
        for _ in before:
            self._pop()
        for kind in operation.stack_after:
            text = argument if isinstance(argument, str) else None
            self.stack.append(MARK if kind is pickletools.markobject else text)

    def _argument(self, operation: Any) -> Any:
        kind = operation.arg
        if kind is None:
            return None
        if kind.n == pickletools.UP_TO_NEWLINE:
            return self._lines(operation.name)
        if kind.n >= 0:
            data = self._read(kind.n)
            return struct.unpack(NUMBERS[kind.n], data)[0] if kind.n in NUMBERS else None
        form = COUNTS[kind.n]
        count = struct.unpack(form, self._read(struct.calcsize(form)))[0]
        if not 0 <= count <= self.size - self.file.tell():
            raise _NoPickle
        if count > LONGEST_TEXT:
            self.file.seek(count, 1)
            return None
        data = self._read(count)
        return data.decode(errors="replace") if "UNICODE" in operation.name else None

    def _read(self, count: int) -> bytes:
        data = self.file.read(count)
        if len(data) < count:
            raise _NoPickle
        return data

    def _lines(self, name: str) -> Any:
        line = self._line()
        if name in ("GLOBAL", "INST"):
            return line, self._line()
        try:
            if name in ("INT", "LONG", "GET", "PUT"):
                return int(line.removesuffix("L"))
            if name == "FLOAT":
                float(line)
        except ValueError:
            raise _NoPickle from None
        if name == "STRING":
            if len(line) < 2 or line[0] not in "'\"" or line[0] != line[-1]:
                raise _NoPickle
            return line[1:-1]
        return line if name == "UNICODE" else None

    def _line(self) -> str:
        line = self.file.readline(10 * LONGEST_TEXT)
        if not line.endswith(b"\n"):
            raise _NoPickle
        return line[:-1].decode("latin-1")


def _holds_objects(file: BinaryIO) -> bool:
    """Whether a .npy's head (from its start) says that it holds Python objects."""
    file.seek(0)
    return _objects_in(file.read(12 + 65536))


def _objects_in(head: bytes) -> bool:
    if head[6:7] == b"\x01":
        text = head[10 : 10 + int.from_bytes(head[8:10], "little")]
    else:
        text = head[12 : 12 + int.from_bytes(head[8:12], "little")]
    kind = re.search(rb"""['"]descr['"]\s*:\s*(.*?)['"]fortran_order""", text, re.DOTALL)
    return kind is None or re.search(rb"['\"][<>|=]?O", kind[1]) is not None


def _in_zip(file: BinaryIO, size: int) -> str | None:
    """A torch archive, or an .npz of Python objects; only the heads of arrays are unpacked."""
    if _directory_size(file, size) > LARGEST_DIRECTORY:
        return None  # so many members that it is no checkpoint
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            for member in members:
                if member.filename.rpartition("/")[2] in ("data.pkl", "constants.pkl"):
                    return "a PyTorch checkpoint (pickle)"
            arrays = [member for member in members if member.filename.endswith(".npy")]
            for member in arrays[:MOST_MEMBERS]:
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    return "NumPy arrays packed so that they cannot be checked"
                with archive.open(member) as array:
                    head = array.read(12 + 4096)
                if head.startswith(b"\x93NUMPY") and _objects_in(head):
                    return "NumPy arrays of Python objects (pickle)"
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError, EOFError):
        return None  # not an archive that Python opens
    return None


def _directory_size(file: BinaryIO, size: int) -> int:
    """Bytes of a zip archive's central directory, as its end says; 0 when there is no end."""
    start = max(0, size - 65557)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 16:
        return 0
    directory = int.from_bytes(tail[at + 12 : at + 16], "little")
    wide = tail.rfind(b"PK\x06\x06", 0, at)  # zip64
    if wide >= 0 and len(tail) >= wide + 48:
        directory = max(
            directory if directory != 0xFFFFFFFF else 0,
            int.from_bytes(tail[wide + 40 : wide + 48], "little"),
        )
    return directory
