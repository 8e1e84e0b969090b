"""What a run shows and writes: progress, metrics.jsonl always, TensorBoard events where it is installed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from veravox.errors import MissingDependencyError, TrainingError, require

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@contextmanager
def no_progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar that shows nothing."""
    yield lambda steps: None


class Tracker:
    """Appends one JSON object a line to `metrics.jsonl`, and scalars to TensorBoard events.

    Args:
        folder: of the run.
        lines: lines of metrics.jsonl to keep when resuming; later ones belong to steps that are done again.
    """

    def __init__(self, folder: Path, lines: int = 0) -> None:
        self.path = folder / "metrics.jsonl"
        kept_lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)[:lines] if lines else []
        if len(kept_lines) < lines:
            raise TrainingError(f"{str(self.path)!r} has fewer lines than the run had; start the run anew")
        self.lines = lines
        self._file = self.path.open("w", encoding="utf-8")
        self._file.writelines(kept_lines)
        self._events: Any = None
        self.missing = ""
        try:
            events = require("torch.utils.tensorboard", "track")
            self._events = events.SummaryWriter(str(folder / "events"))
        except MissingDependencyError:
            self.missing = (
                "no TensorBoard events: pip install 'veravox[track]'; metrics.jsonl has the same figures"
            )

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """One record; numbers also go to TensorBoard."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.lines += 1
        if self._events is not None:
            prefix = f"{values.get('stage', '')}/"
            for name, value in values.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    self._events.add_scalar(prefix + name, value, step)
                elif isinstance(value, Mapping):
                    for part, number in value.items():
                        self._events.add_scalar(f"{prefix}{name}/{part}", number, step)
            self._events.flush()

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._events is not None:
            self._events.close()
