"""A file exists only when it is whole: written beside its place, then renamed into it."""

from __future__ import annotations

import errno
import glob
import json
import os
import platform
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from veravox.errors import OutputError


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "no space is left on the device; free some and run again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "the folder is not writable; choose another"
    return error.strerror or str(error)


def refuse_other_kinds(path: str | os.PathLike[str]) -> None:
    """Check that nothing but a file lies where one is to be written.

    Raises:
        OutputError: if a folder or a device lies there.
    """
    target = Path(path)
    try:
        if target.is_file() or not target.exists():
            return
        kind = "a folder" if target.is_dir() else "not a regular file"
    except OSError as error:
        raise OutputError(f"cannot write {str(target)!r}: {_reason(error)}") from error
    raise OutputError(f"cannot write {str(target)!r}: it is {kind}; name a file")


def refuse_inputs(out: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Check that an output is none of the files that it is made of.

    Raises:
        OutputError: naming the input that would be overwritten.
    """
    for path in inputs:
        if os.path.exists(out) and os.path.exists(path) and os.path.samefile(out, path):
            raise OutputError(f"cannot write {str(out)!r}: it is the input {str(path)!r}; choose another name")


@contextmanager
def claimed(path: str | os.PathLike[str], purpose: str) -> Iterator[None]:
    """Hold an output for one process while the block runs; a process that ends, however, holds nothing.

    The claim is a lock on `.NAME.lock` beside the output, so that it ends with its process. Where the file system
    knows no locks, nothing is held.

    Args:
        path: the file that is going to be written.
        purpose: what is being done, for the message to whoever comes second.
    Raises:
        OutputError: at once, if another process holds it; says which.
    """
    import fcntl  # not on Windows

    target = Path(path)
    lock = target.with_name(f".{target.name}.lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle = _locked(lock)
    except BlockingIOError:
        raise OutputError(
            f"{str(target)!r} is being written by {_holder(lock)}; wait for its end, or choose another name"
        ) from None
    except OSError as error:
        raise OutputError(f"cannot write {str(target)!r}: {_reason(error)}") from error
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{purpose} (process {os.getpid()} on {platform.node()})".encode(), 0)
        for left in target.parent.glob(glob.escape(_partial(target)) + "*"):
            left.unlink(missing_ok=True)  # by a process that was killed
        yield
    finally:
        lock.unlink(missing_ok=True)
        fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _partial(target: Path) -> str:
    """What the names of a file's temporary forms begin with."""
    return f".partial-{target.name[:80]}-"


def _locked(lock: Path) -> int:
    """A locked handle of a file that lies at its name: the former holder may have removed it meanwhile."""
    import fcntl

    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same(handle, lock):
                return handle
        except BlockingIOError:
            os.close(handle)
            raise
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                return handle
            os.close(handle)
            raise
        os.close(handle)


def _same(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _holder(lock: Path) -> str:
    try:
        return lock.read_text(encoding="utf-8") or "another process"
    except (OSError, UnicodeDecodeError):
        return "another process"


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it into place if the block succeeds.

    The temporary name keeps the ending of `path`, so that writers which look at it work.
    A block that raises leaves neither a new nor a changed file.

    Raises:
        OutputError: if the folder cannot be made or the file cannot be written, or `path` is something else than
            a file (a folder, or a device such as /dev/null, which a rename would replace).
    """
    target = Path(path)
    refuse_other_kinds(target)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_partial(target), suffix=target.suffix, dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, target)
    except OSError as error:
        raise OutputError(f"cannot write {str(target)!r}: {_reason(error)}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text as a whole file; bytes of a name that are no text are escaped."""
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write(text.encode("utf-8", "backslashreplace"))
        file.flush()
        os.fsync(file.fileno())


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write bytes as a whole file."""
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: str | os.PathLike[str], content: Any, indent: int | None = 2) -> None:
    """Write JSON as a whole file; numbers that are not finite are refused."""
    write_text(path, json.dumps(content, indent=indent, allow_nan=False) + "\n")
