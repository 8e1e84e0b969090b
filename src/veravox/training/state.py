"""The state of a run that is not finished: everything an exact resume needs, as safetensors, never pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from veravox.errors import TrainingError
from veravox.files import whole_file

STATE_VERSION = 1
STATE_NAME = "state.safetensors"


def pack(prefix: str, value: Any, tensors: dict[str, Tensor]) -> Any:
    """Replace every tensor inside plain data by a reference, and keep it under a name."""
    if isinstance(value, Tensor):
        tensors[prefix] = value.detach().cpu().clone().contiguous()
        return {"__tensor__": prefix}
    if isinstance(value, Mapping):
        items = [[key, pack(f"{prefix}/{key}", item, tensors)] for key, item in value.items()]
        return {"__mapping__": items}
    if isinstance(value, list | tuple):
        return [pack(f"{prefix}/{index}", item, tensors) for index, item in enumerate(value)]
    return value


def unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `pack`; keys of mappings keep their type."""
    if isinstance(value, Mapping):
        if "__tensor__" in value:
            return tensors[value["__tensor__"]]
        return {key: unpack(item, tensors) for key, item in value["__mapping__"]}
    if isinstance(value, list):
        return [unpack(item, tensors) for item in value]
    return value


def write_state(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write nested plain data with tensors as one whole file.

    Raises:
        OutputError: if it cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    content = pack("state", state, tensors)
    with whole_file(path) as temporary:
        header = {"veravox_state": json.dumps({"version": STATE_VERSION, "content": content})}
        temporary.write_bytes(safetensors.torch.save(tensors, header))


def read_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `write_state` wrote.

    Raises:
        TrainingError: if the file is absent, damaged or of another version.
    """
    if not Path(path).is_file():
        raise TrainingError(f"nothing to resume: no {str(path)!r}; start without --resume")
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            header = json.loads((opened.metadata() or {})["veravox_state"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, KeyError, json.JSONDecodeError, OSError) as error:
        raise TrainingError(f"{str(path)!r} is damaged ({error}); start the run anew") from error
    if header["version"] != STATE_VERSION:
        raise TrainingError(f"{str(path)!r} was written by another version; start the run anew")
    return unpack(header["content"], tensors)
