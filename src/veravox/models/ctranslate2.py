"""Weights of CTranslate2 model files (`model.bin`), as plain arrays; the package itself is not needed."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from veravox.errors import CheckpointError

VERSIONS = (5, 6)
TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


class _Reader:
    """A cursor over the bytes of a file that answers a short read with a clear error."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.name, self.position = data, name, 0

    def take(self, size: int) -> bytes:
        if size < 0 or self.position + size > len(self.data):
            raise CheckpointError(
                f"{self.name!r} is cut short at byte {len(self.data)} or is no CTranslate2 model file; "
                "join all its parts, or fetch it again"
            )
        self.position += size
        return self.data[self.position - size : self.position]

    def number(self, form: str) -> int:
        return int(struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0])

    def text(self) -> str:
        return self.take(self.number("H")).rstrip(b"\0").decode("utf-8", "replace")


def read_weights(parts: Sequence[str | os.PathLike[str]]) -> dict[str, np.ndarray]:
    """All variables of one model file by name, dequantised to floating point.

    Args:
        parts: the file, or the pieces it was split into, in order.
    Returns:
        float16 or float32 arrays; integers stay where no scale belongs to them.
    Raises:
        CheckpointError: if the file is damaged or of another version.
    """
    name = str(parts[0])
    try:
        reader = _Reader(b"".join(Path(part).read_bytes() for part in parts), name)
    except OSError as error:
        raise CheckpointError(f"{name!r} cannot be read: {error.strerror or error}") from error
    version = reader.number("I")
    if version not in VERSIONS:
        raise CheckpointError(
            f"{name!r} is no CTranslate2 model file of version {VERSIONS[0]} or {VERSIONS[1]} (found {version})"
        )
    reader.text()  # what model it is
    reader.number("I")  # its revision
    variables = dict(_variable(reader) for _ in range(reader.number("I")))
    scales = {key: value for key, value in variables.items() if key.endswith("_scale")}
    return {
        key: _dequantised(value, scales.get(key + "_scale"))
        for key, value in variables.items()
        if key not in scales
    }


def _variable(reader: _Reader) -> tuple[str, np.ndarray]:
    name = reader.text()
    shape = [reader.number("I") for _ in range(reader.number("B"))]
    kind, size = reader.number("B"), reader.number("I")
    content = reader.take(size)
    if kind not in TYPES:
        raise CheckpointError(f"{reader.name!r}: {name!r} has the unknown type {kind}; convert it to float16")
    dtype: Any = np.dtype(TYPES[kind])
    if int(np.prod(shape, dtype=np.int64)) * dtype.itemsize != size:
        raise CheckpointError(f"{reader.name!r}: {name!r} of shape {shape} does not fit its {size} bytes")
    return name, np.frombuffer(content, dtype).reshape(shape)


def _dequantised(values: np.ndarray, scale: np.ndarray | None) -> np.ndarray:
    if scale is None or values.dtype not in (np.int8, np.int16):
        return values
    by_row = scale.astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    return values.astype(np.float32) / by_row
