"""A process that decodes recordings for another one, which hands it open files and takes the samples.

It opens no file and no address by itself: each request brings a descriptor. A decoder that crashes, hangs or eats
memory takes this process with it and nothing else.

Protocol, over one socket: a request is REQUEST with a descriptor, a length (4 bytes) and JSON. The answers are
messages of a header (kind, count of bytes) and content, the last of which is END or ERROR. CANCEL from the other
side asks for an early end.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time
from dataclasses import asdict
from typing import Any

from veravox.audio.limits import Limits, exceeded
from veravox.audio.readers import Refused, Unreadable

HEADER = struct.Struct("<BI")
INFO, BLOCK, END, ERROR = range(4)
REQUEST, CANCEL = b"r", b"x"
STALL_S = 10.0  # of processor time without a block
FIXED_MB = 64  # a decoder's fixed needs, which no limit cuts


def main(descriptor: int) -> None:
    """Serve requests until the other side closes its socket."""
    from veravox.audio.ffmpeg import FfmpegReader  # before the memory is limited

    link = socket.socket(fileno=descriptor)
    resident = _address_space()
    while True:
        mark, descriptors, _, _ = socket.recv_fds(link, 1, 1)
        if mark == CANCEL:
            continue  # came when all was done
        if mark != REQUEST or len(descriptors) != 1:
            os._exit(0)
        request = json.loads(receive(link, struct.unpack("<I", receive(link, 4))[0]))
        limits = Limits(**request["limits"])
        with open(descriptors[0], "rb", buffering=0) as file:
            _limit_memory(resident, limits)
            answers = _Answers(link, limits)
            try:
                answers.serve(FfmpegReader(file, os.fstat(file.fileno()).st_size, request["start"]))
            except MemoryError:
                answers.fail(Refused(exceeded("memory_mb", limits)))
            except (Unreadable, _Stopped) as error:
                answers.fail(error)
            except BrokenPipeError:
                os._exit(0)
            except Exception as error:
                answers.fail(Unreadable(f"{type(error).__name__}: {error}"))


def receive(link: socket.socket, count: int) -> bytes:
    """Exactly `count` bytes; raises EOFError if the other side is gone."""
    content = bytearray(count)
    view = memoryview(content)
    while view:
        got = link.recv_into(view)
        if not got:
            raise EOFError
        view = view[got:]
    return bytes(content)


class _Stopped(Exception):
    """The other side wants no more."""


class _Answers:
    """What goes back for one file, within its limits of time."""

    def __init__(self, link: socket.socket, limits: Limits) -> None:
        self._link, self._limits = link, limits
        self._begin_s = time.process_time()
        self._renew()

    def serve(self, reader: Any) -> None:
        held = [_message(INFO, json.dumps(asdict(reader.info)).encode())]
        try:
            for planes in reader.planes():
                content = memoryview(planes.reshape(-1) if planes.flags.c_contiguous else planes.flatten()).cast(
                    "B"
                )
                self._send(*held, HEADER.pack(BLOCK, len(content)), content)
                held = []
                self._renew()
        finally:
            if held:
                self._send(*held)
            reader.close()
        self._send(HEADER.pack(END, 0))

    def fail(self, error: Exception) -> None:
        content = json.dumps({"refused": isinstance(error, Refused), "cause": str(error)}).encode()
        self._send(_message(ERROR, content))

    def _renew(self) -> None:
        """Check the time used; and let the system end this process if the next block takes too long."""
        try:
            if self._link.recv(1, socket.MSG_DONTWAIT) != b"":
                raise _Stopped
            os._exit(0)
        except BlockingIOError:
            pass
        now = time.process_time()
        left = self._limits.decode_s - (now - self._begin_s)
        if left <= 0:
            raise Refused(exceeded("decode_s", self._limits))
        _set_limit("RLIMIT_CPU", int(now + min(left, STALL_S)) + 1)

    def _send(self, *parts: Any) -> None:
        sent = self._link.sendmsg(parts)
        for part in parts:
            rest = memoryview(part).cast("B")[sent:]
            sent = max(0, sent - len(part))
            if rest:
                self._link.sendall(rest)


def _message(kind: int, content: bytes) -> bytes:
    return HEADER.pack(kind, len(content)) + content


def _address_space() -> int:
    """Bytes of this process's address space; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def _limit_memory(resident: int, limits: Limits) -> None:
    if resident:
        _set_limit("RLIMIT_AS", resident + int((limits.memory_mb + FIXED_MB) * 1e6))


def _set_limit(name: str, value: int) -> None:
    """A soft limit of the system; what a system does not know is left out."""
    import resource

    try:
        which = getattr(resource, name)
        hard = resource.getrlimit(which)[1]
        resource.setrlimit(which, (value if hard < 0 else min(value, hard), hard))
    except (AttributeError, OSError, ValueError):
        pass


def start() -> None:
    """Entry of the process; its arguments are the socket's descriptor and the path of its parent's modules."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    _set_limit("RLIMIT_CORE", 0)
    _set_limit("RLIMIT_FSIZE", 0)
    try:
        main(int(sys.argv[1]))
    except (EOFError, ConnectionError):
        pass
    finally:
        os._exit(0)
