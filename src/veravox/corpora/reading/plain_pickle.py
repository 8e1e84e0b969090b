"""Read the pickled dictionary in an .npy file without running any code of its author."""

from __future__ import annotations

import os
import pickle
from typing import Any

import numpy as np

from veravox.errors import CorpusError

PLAIN = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("_codecs", "encode"),
}
"""What an array of text needs to come back to life; nothing here opens a file or starts a program."""


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PLAIN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which plain labels do not need")
        return super().find_class(module, name)


def load_npy_object(path: str | os.PathLike[str]) -> Any:
    """The one object in an .npy file of dtype object.

    Raises:
        CorpusError: if the file is damaged, or holds more than plain data.
    """
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read(file)
            if not dtype.hasobject or shape != ():
                raise CorpusError(f"{str(path)!r} holds an array of {dtype}, not a dictionary")
            content = _PlainUnpickler(file).load()
        return content.item() if isinstance(content, np.ndarray) else content
    except CorpusError:
        raise
    except Exception as error:  # a damaged header or pickle raises whatever its reader stumbles over
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CorpusError(f"{str(path)!r} cannot be read as segment labels: {reason}") from error
