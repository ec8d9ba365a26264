"""Which files run code when they are opened: pickles, bare or inside other formats."""

from __future__ import annotations

import io
import re
import zipfile
from typing import BinaryIO, cast

from llmos.hub.uploads import packed
from llmos.hub.uploads.pickles import follow

MOST_MEMBERS = 10_000  # arrays of an .npz whose heads are read
PICKLES = ("data.pkl", "constants.pkl")  # of a PyTorch archive
LARGEST_DIRECTORY = 64 << 20  # bytes of a zip archive's list of members that is read


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
    if followed.too_long:
        return "a pickle too long to be checked"
    return packed.why_dangerous(file)


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
        return _named(file)
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            for member in members:
                if member.filename.rpartition("/")[2] in PICKLES:
                    return "a PyTorch checkpoint (pickle)"
            if len(members) == 1 and (why := _alone(archive, members[0])):
                return why
            arrays = [member for member in members if member.filename.endswith(".npy")]
            if len(arrays) > MOST_MEMBERS:
                return "so many NumPy arrays that they cannot be checked"
            for member in arrays:
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    return "NumPy arrays packed so that they cannot be checked"
                with archive.open(member) as array:
                    head = array.read(12 + 4096)
                if head.startswith(b"\x93NUMPY") and _objects_in(head):
                    return "NumPy arrays of Python objects (pickle)"
    except (zipfile.BadZipFile, NotImplementedError, *packed.FAILURES):
        return _named(file)  # Python cannot open it, but others may
    return None


def _alone(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> str | None:
    """Whether an archive's only member is a pickle that runs code: pandas opens such by itself."""
    # Buffered anew: its own readline does not keep to the number of bytes it is given.
    with io.BufferedReader(cast(io.RawIOBase, archive.open(member))) as file:
        followed = follow(cast(BinaryIO, file), min(member.file_size, packed.MOST))
    if followed.runs_code or followed.too_long:
        return "a compressed pickle"
    return None


def _named(file: BinaryIO) -> str | None:
    """Whether an archive that cannot be read may be a torch archive, by the names in it."""
    file.seek(0)
    before = b""
    while piece := file.read(1 << 20):
        if any(name.encode() in before + piece for name in PICKLES):
            return "what may be a PyTorch checkpoint (pickle), in an archive that cannot be read"
        before = piece[-20:]
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
