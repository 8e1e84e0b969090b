"""One recipe under several seeds, each in a folder of its own; their mean and standard deviation."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from veravox.errors import ConfigurationError, TrainingError
from veravox.files import write_json
from veravox.models.checkpoint import CHECKPOINT_NAME
from veravox.tables import Protocol
from veravox.training.files import FileCheck, OnBadFile
from veravox.training.loop import fit
from veravox.training.processes import Processes
from veravox.training.recipe import Recipe
from veravox.training.state import STATE_NAME
from veravox.training.track import Progress, no_progress
from veravox.training.trials import protocol_hash

SUMMARY_NAME = "seeds.json"
PROVENANCE_NAME = "provenance.json"


@dataclass(frozen=True)
class SeedRun:
    """A finished run: its seed, its folder, its dev EER as a fraction."""

    seed: int
    folder: Path
    dev_eer: float


@dataclass(frozen=True)
class SeedRuns:
    """The finished runs of one recipe."""

    recipe: str
    runs: tuple[SeedRun, ...]

    @property
    def mean(self) -> float:
        """Mean dev EER, a fraction."""
        return float(np.mean([run.dev_eer for run in self.runs]))

    @property
    def deviation(self) -> float | None:
        """Standard deviation (n - 1) of the dev EERs; None of a single run."""
        return float(np.std([run.dev_eer for run in self.runs], ddof=1)) if len(self.runs) > 1 else None

    def to_dict(self) -> dict[str, Any]:
        """As plain data; EERs are fractions."""
        runs = [{"seed": run.seed, "folder": run.folder.name, "dev_eer": run.dev_eer} for run in self.runs]
        return {"recipe": self.recipe, "dev_eer": self.mean, "deviation": self.deviation, "runs": runs}

    def __str__(self) -> str:
        names = ", ".join(str(run.seed) for run in self.runs)
        if self.deviation is None:
            return f"dev EER {100 * self.mean:.2f} % (seed {names} alone: no standard deviation)"
        return (
            f"dev EER {100 * self.mean:.2f} ± {100 * self.deviation:.2f} % over {len(self.runs)} seeds ({names})"
        )


def fit_seeds(
    recipe: Recipe,
    seeds: Sequence[int],
    train: Protocol,
    dev: Protocol,
    out: str | Path,
    device: str = "auto",
    workers: int = 2,
    resume: bool = False,
    processes: Processes | None = None,
    progress: Progress = no_progress,
    say: Callable[[str], None] = print,
    features: Path | None = None,
    on_bad_file: OnBadFile = "stop",
) -> SeedRuns:
    """Train a recipe once a seed, in the folders `seed-0`, `seed-1`, ... of `out`, and write `seeds.json` there.

    Args:
        seeds: in order; the recipe's own seed does not count.
        resume: finished seeds are left as they are, an unfinished one goes on exactly, the others begin.
        train, dev, device, workers, processes, progress, say, features, on_bad_file: as of `fit`.
    Raises:
        TrainingError: if a folder holds a run and `resume` is not set, or a run of another recipe or other data.
    """
    processes, folder = processes or Processes(), Path(out)
    recipes = {seed: replace(recipe, seed=seed) for seed in seeds}
    if not recipes or len(recipes) < len(seeds):
        raise ConfigurationError("several seeds are at least one, each named once")
    folders = {seed: folder / f"seed-{seed}" for seed in recipes}
    occupied = [path for path in folders.values() if (path / STATE_NAME).exists() or _finished(path)]
    if occupied and not resume:
        raise TrainingError(
            f"{str(occupied[0])!r} already holds a run; add --resume for what is missing, or choose another folder"
        )
    check = FileCheck(workers, progress, say, processes)
    (train, _), (dev, _) = (check.usable(protocol, on_bad_file) for protocol in (train, dev))
    hashes = {"train": protocol_hash(train), "dev": protocol_hash(dev)}
    for seed, run_folder in folders.items():
        if _finished(run_folder):
            _check_same(run_folder, recipes[seed], hashes)
    done: list[SeedRun] = []
    for seed, seeded in recipes.items():
        run_folder = folders[seed]
        # One process looks, so that all do alike.
        if processes.share(_finished(run_folder)):
            say(f"seed {seed}: finished before, left as it is")
        else:
            goes_on = bool(processes.share((run_folder / STATE_NAME).exists()))
            say(f"seed {seed}: {'goes on' if goes_on else 'begins'} in {run_folder}")
            if not goes_on and processes.is_main:
                _remove_empty_run(run_folder)
            fit(
                seeded,
                train,
                dev,
                run_folder,
                device,
                workers,
                goes_on,
                processes,
                progress,
                say,
                features,
                check=check,
            )
        done.append(SeedRun(seed, run_folder, _provenance(run_folder)["metrics"]["dev_eer"]))
        if processes.is_main:
            write_json(folder / SUMMARY_NAME, SeedRuns(recipe.name, tuple(done)).to_dict())
    return SeedRuns(recipe.name, tuple(done))


def _finished(run_folder: Path) -> bool:
    """Whether a run ended here: its provenance is the last that it writes."""
    return (run_folder / PROVENANCE_NAME).is_file() and (run_folder / CHECKPOINT_NAME).is_file()


def _remove_empty_run(run_folder: Path) -> None:
    """Forget a run that was killed before it had anything to go on from."""
    metrics = run_folder / "metrics.jsonl"
    if metrics.is_file() and not metrics.stat().st_size:
        metrics.unlink()


def _check_same(run_folder: Path, seeded: Recipe, hashes: dict[str, str]) -> None:
    provenance = _provenance(run_folder)
    same_data = {part: provenance["data"][part]["sha256"] for part in hashes} == hashes
    if (
        Recipe.parse(provenance["recipe"]) != Recipe.parse(json.loads(json.dumps(seeded.to_dict())))
        or not same_data
    ):
        raise TrainingError(
            f"{str(run_folder)!r} holds a run of another recipe or other data; use the same, or another folder"
        )


def _provenance(run_folder: Path) -> Any:
    path = run_folder / PROVENANCE_NAME
    try:
        provenance = json.loads(path.read_text(encoding="utf-8"))
        return provenance if {"recipe", "data", "metrics"} <= set(provenance) else _damaged(path)
    except (OSError, ValueError):
        return _damaged(path)


def _damaged(path: Path) -> Any:
    raise TrainingError(f"{str(path)!r} is damaged; remove the folder and train this seed again")


__all__ = ["SeedRun", "SeedRuns", "fit_seeds"]
