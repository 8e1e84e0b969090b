"""Decoding processes, kept for reuse: a file that kills its decoder costs that file alone.

A worker is started when a file needs one and none is idle, and serves one file at a time. It is started as a plain
subprocess, so a script needs no `if __name__ == "__main__"`, and nothing is forked. Where a process cannot be
handed an open file (Windows, frozen programs), FFmpeg decodes in this process, under the limit of sound alone.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np

from veravox.audio.limits import Limits, exceeded
from veravox.audio.readers import AudioInfo, Reader, Refused, Unreadable
from veravox.audio.sources import Source
from veravox.audio.worker import BLOCK, CANCEL, END, ERROR, HEADER, REQUEST
from veravox.errors import AudioError

SILENT_S = 300.0  # without a word from a worker
FILES = 2000  # a worker is replaced after so many: what a library leaks ends there
PROGRAM = "import sys; sys.path[:] = sys.argv[2:]; from veravox.audio.worker import start; start()"


def separate_processes() -> bool:
    """Whether decoders can run in processes of their own here."""
    return hasattr(socket, "send_fds") and bool(sys.executable) and not getattr(sys, "frozen", False)


def ffmpeg_reader(source: Source, start: int, limits: Limits) -> Reader:
    """A reader of anything FFmpeg may read, in a process of its own where that is possible.

    Raises:
        Unreadable: if the file cannot be opened.
    """
    if not separate_processes():
        from veravox.audio.ffmpeg import FfmpegReader

        return FfmpegReader(source.file, source.size, start)
    return RemoteReader(source, start, limits)


class Worker:
    """One decoding process and the socket to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            paths = [path or os.getcwd() for path in sys.path]
            threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-c", PROGRAM, str(theirs.fileno()), *paths],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, **threads},
                    process_group=0,  # Ctrl-C reaches the parent, which closes the socket
                )
            except OSError as error:
                ours.close()
                raise AudioError(f"no process to decode in can be started: {error}") from error
        ours.settimeout(SILENT_S)
        self.link = ours
        self.files = 0

    def request(self, source: Source, start: int, limits: Limits) -> None:
        """Ask for the samples of a file."""
        self.files += 1
        content = json.dumps({"start": start, "limits": asdict(limits)}).encode()
        os.lseek(source.file.fileno(), 0, os.SEEK_SET)  # the position is shared with the descriptor
        socket.send_fds(self.link, [REQUEST + struct.pack("<I", len(content)) + content], [source.file.fileno()])

    def fill(self, buffer: memoryview) -> None:
        """Receive until a buffer is full; raises EOFError if the worker is gone."""
        while buffer:
            got = self.link.recv_into(buffer)
            if not got:
                raise EOFError
            buffer = buffer[got:]

    def end(self) -> int:
        """End the process; returns its exit status, negative if a signal ended it before."""
        self.link.close()
        try:
            return self.process.wait(0.5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def is_alive(self) -> bool:
        return self.process.poll() is None


class WorkerPool:
    """Idle workers of this process; as many are started as files are open at once."""

    def __init__(self) -> None:
        self._idle: list[Worker] = []
        self._lock = threading.Lock()
        self._most_idle = os.cpu_count() or 1

    def take(self) -> Worker:
        """An idle worker, or a new one."""
        while True:
            with self._lock:
                if not self._idle:
                    break
                worker = self._idle.pop()
            if worker.is_alive():
                return worker
            worker.end()
        return Worker()

    def give_back(self, worker: Worker) -> None:
        """Keep a worker that has answered everything it was asked."""
        with self._lock:
            if worker.files < FILES and len(self._idle) < self._most_idle:
                self._idle.append(worker)
                return
        worker.end()

    def close(self) -> None:
        """End all idle workers."""
        with self._lock:
            workers, self._idle = self._idle, []
        for worker in workers:
            worker.link.close()
        for worker in workers:
            worker.end()

    def forget(self) -> None:
        """Leave the workers to the process that this one was forked from."""
        for worker in self._idle:
            worker.link.close()
            worker.process.returncode = 0  # not ours to wait for
        self._idle, self._lock = [], threading.Lock()


POOL = WorkerPool()
atexit.register(POOL.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL.forget)


class _Dead(Exception):
    """A worker died: its exit status, and how many files it had been asked for."""

    def __init__(self, status: int, files: int) -> None:
        super().__init__(status)
        self.status, self.files = status, files


class RemoteReader:
    """A recording that a worker decodes.

    A worker that dies may have been hurt by a file before; so the file is tried again by a new one, and only what
    kills that one too is the file's own fault.
    """

    def __init__(self, source: Source, start: int, limits: Limits) -> None:
        self._source, self._start, self._limits = source, start, limits
        self._worker: Worker | None = POOL.take()
        self._ask()
        try:
            self.info = self._begin()
        except _Dead as death:
            self._again(death)
            self.info = self._first()

    def _ask(self) -> None:
        assert self._worker is not None
        try:
            self._worker.request(self._source, self._start, self._limits)
        except OSError:  # it died while idle
            self._worker.end()
            self._worker = Worker()
            self._worker.request(self._source, self._start, self._limits)

    def _begin(self) -> AudioInfo:
        kind, content = self._message()
        if kind == ERROR:
            raise self._failure(content)
        return AudioInfo(**json.loads(bytes(content)))

    def _again(self, death: _Dead) -> None:
        """Ask a new worker, unless the one that died was new itself."""
        if death.files > 1:
            self._worker = Worker()
            self._ask()
            return
        raise _death(death.status, self._limits)

    def _first(self) -> AudioInfo:
        """The info, from a new worker."""
        try:
            return self._begin()
        except _Dead as death:
            raise _death(death.status, self._limits) from None

    def blocks(self) -> Iterator[np.ndarray]:
        """As `Reader.blocks`; a view whose channels each lie in one piece."""
        given = skip = 0
        while True:
            try:
                kind, content = self._message()
            except _Dead as death:
                self._again(death)
                self._first()
                skip = given
                continue
            if kind == BLOCK:
                block = content.view(np.float32).reshape(self.info.channels, -1).T[skip:]
                skip = max(0, skip - (len(content) // 4 // self.info.channels))
                given += len(block)
                if len(block):
                    yield block
                continue
            if kind == ERROR:
                raise self._failure(content)
            self._release()
            return

    def _message(self) -> tuple[int, np.ndarray]:
        """The next answer; if the worker died or hangs, Unreadable says how."""
        worker = self._worker
        assert worker is not None
        head = bytearray(HEADER.size)
        try:
            worker.fill(memoryview(head))
            kind, count = HEADER.unpack(head)
            content = np.empty(count, np.uint8)
            worker.fill(memoryview(content))  # type: ignore[arg-type]
        except TimeoutError:
            worker.process.kill()
            worker.end()
            self._worker = None
            raise Unreadable(f"the decoder gave no answer within {SILENT_S:g} s") from None
        except (EOFError, ConnectionError):
            status = worker.end()
            self._worker = None
            raise _Dead(status, worker.files) from None
        except BaseException:
            worker.process.kill()
            worker.end()
            self._worker = None
            raise
        return kind, content

    def _failure(self, content: np.ndarray) -> Unreadable:
        self._release()
        told = json.loads(bytes(content))
        return Refused(told["cause"]) if told["refused"] else Unreadable(f"FFmpeg: {told['cause']}")

    def _release(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            POOL.give_back(worker)

    def close(self) -> None:
        """Give the worker back; one that is still at work is told to stop, and what it has sent is thrown away."""
        if self._worker is None:
            return
        try:
            self._worker.link.send(CANCEL)
            while self._worker is not None and self._message()[0] not in (END, ERROR):
                pass
        except (Unreadable, OSError, _Dead):
            pass
        self._release()

    def __del__(self) -> None:
        worker = getattr(self, "_worker", None)
        if worker is not None:
            worker.process.kill()
            worker.end()


def _death(status: int, limits: Limits) -> Unreadable:
    if -status == getattr(signal, "SIGXCPU", None):
        return Refused(exceeded("decode_s", limits))
    try:
        name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    except ValueError:
        name = f"signal {-status}"
    return Refused(f"makes its decoder crash ({name}); it is damaged, hostile, or of a rare kind; convert it")
