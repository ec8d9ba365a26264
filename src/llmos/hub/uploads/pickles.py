"""Python's pickles, followed without being run.

A pickle is a program; what it imports, it may call. The program is followed here with a stack of
its own, without importing or building anything, so that a text which happens to begin like a pickle
is not taken for one.
"""

from __future__ import annotations

import pickletools
import re
import struct
from dataclasses import dataclass, field
from typing import Any, BinaryIO

MOST_STEPS = 500_000  # of one file that are followed
LONGEST_TEXT = 1000  # bytes that are looked at of one text
OPERATIONS = {operation.code.encode("latin-1"): operation for operation in pickletools.opcodes}
LONGEST_LINE = 10 * LONGEST_TEXT
COUNTS = {
    pickletools.TAKEN_FROM_ARGUMENT1: "<B",
    pickletools.TAKEN_FROM_ARGUMENT4: "<i",
    pickletools.TAKEN_FROM_ARGUMENT4U: "<I",
    pickletools.TAKEN_FROM_ARGUMENT8U: "<Q",
}
NUMBERS = {1: "<B", 2: "<H", 4: "<I"}
NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
INTEGER = re.compile(r"\s*[+-]?\d[\da-fxo_]*l?\s*", re.IGNORECASE | re.ASCII)
HIDDEN = "(a name that is not spelt out)"
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

    def _import(self, both: str) -> _Import:
        if len(self.found.imports) < 100:
            self.found.imports.append(both)
        return _Import(both)

    def _step(self, operation: Any, argument: Any) -> None:
        name = operation.name
        if name == "GLOBAL":
            self.stack.append(self._import(argument))
        elif name == "STACK_GLOBAL":
            second, first = self._pop(), self._pop()
            both = f"{first}.{second}"
            # What is on the stack may be text that is written with escapes, or of another kind.
            plain = isinstance(first, str) and isinstance(second, str) and NAME.fullmatch(both)
            self.stack.append(self._import(both if plain else HIDDEN))
        elif name == "INST":
            self._pop_to_mark()
            self._import(argument)
            self.found.called = True
            self.stack.append(None)
        elif name.startswith("EXT"):
            self.stack.append(self._import(f"copyreg.extension_{argument}"))
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
            both = f"{line}.{self._line()}"
            if HIDDEN not in both and not NAME.fullmatch(both):
                raise _NoPickle
            return both
        number = line.partition("\0")[0]  # there C ends a text
        if name in ("INT", "LONG") and not INTEGER.fullmatch(number) and line != HIDDEN:
            raise _NoPickle
        try:
            if name in ("GET", "PUT"):
                return int(number)
            if name == "FLOAT" and line != HIDDEN:
                float(number)
        except ValueError:
            raise _NoPickle from None
        if name == "STRING" and line != HIDDEN:
            if len(line) < 2 or line[0] not in "'\"" or line[0] != line[-1]:
                raise _NoPickle
            return line[1:-1]
        return line if name in ("STRING", "UNICODE") else None

    def _line(self) -> str:
        """The next line; `HIDDEN` for a very long one, of which a pickle may have any number."""
        line = self.file.readline(LONGEST_LINE)
        if line.endswith(b"\n"):
            return line[:-1].decode(errors="replace")
        while len(line) == LONGEST_LINE:
            line = self.file.readline(LONGEST_LINE)
            if line.endswith(b"\n"):
                return HIDDEN
        raise _NoPickle
