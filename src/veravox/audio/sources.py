"""What a recording is read from: a file, bytes, or a file object, each as one open descriptor."""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
from typing import IO, Any

from veravox.errors import AudioError

COPY_BYTES = 1 << 20


class Source:
    """An open recording.

    Attributes:
        name: as it was named; `<bytes>` or `<file object>` where there is no name.
        file: the open file, unbuffered.
        size: bytes.
    """

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self.name = name
        self.file = file
        self.size = os.fstat(file.fileno()).st_size

    def read_at(self, position: int, count: int) -> bytes:
        """Up to `count` bytes from a position on; fewer at the end."""
        return read_at(self.file, position, min(count, self.size - position))

    def close(self) -> None:
        self.file.close()


def read_at(file: IO[bytes], position: int, count: int) -> bytes:
    """Up to `count` bytes from a position on; where the system can, without moving the file's own position."""
    if position < 0 or count <= 0:
        return b""
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), count, position)
    file.seek(position)
    return file.read(count)


def open_source(source: Any) -> Source:
    """Open a path, bytes, or a binary file object, which is read from where it stands to its end.

    Raises:
        AudioError: if there is nothing to read, saying why.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _copied("<bytes>", [bytes(source)])
    if callable(getattr(source, "read", None)):
        name = getattr(source, "name", None)
        return _copied(name if isinstance(name, str) else "<file object>", _chunks(source))
    try:
        name = os.fsdecode(os.fspath(source))
    except TypeError:
        raise AudioError(
            f"a recording is a path, bytes or a binary file object, not {type(source).__name__}"
        ) from None
    return Source(name, _open_file(name))


def _chunks(source: IO[bytes]) -> Any:
    while chunk := source.read(COPY_BYTES):
        if not isinstance(chunk, (bytes, bytearray, memoryview)):
            raise AudioError(f"the file object {source!r} gives text, not bytes; open it in binary mode")
        yield chunk


def _copied(name: str, chunks: Any) -> Source:
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
    try:
        for chunk in chunks:
            file.write(chunk)
        source = Source(name, file)
        if not source.size:
            raise AudioError(f"{name!r} is empty (0 bytes)")
    except BaseException:
        file.close()
        raise
    return source


def _open_file(path: str) -> IO[bytes]:
    """Open a regular, non-empty file for reading, or say what stands against it."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise AudioError(f"{path!r} is a folder, not a file; name the files in it, or score the folder")
        if not stat.S_ISREG(status.st_mode):
            raise AudioError(f"{path!r} is not a regular file (a pipe or device?); save the audio to a file first")
        if status.st_size == 0:
            raise AudioError(f"{path!r} is empty (0 bytes); copy or record it again")
        return open(path, "rb", buffering=0)
    except (OSError, ValueError) as error:
        missing = "does not exist; check the name"
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path):
            missing = "is an address, and addresses are not opened; download the file and name the copy"
        reason = {
            errno.ENOENT: missing,
            errno.ENOTDIR: missing,
            errno.EACCES: "may not be read: no permission; change its mode or owner",
            errno.EPERM: "may not be read: no permission; change its mode or owner",
            errno.ELOOP: "is a symbolic link that leads to itself",
        }.get(getattr(error, "errno", None) or 0, f"cannot be opened: {error}")
        raise AudioError(f"{path!r} {reason}") from error
