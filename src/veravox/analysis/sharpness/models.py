"""Sharpness of several models at once: checkpoints, folders of runs with their seeds, and earlier tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from veravox.analysis.sharpness.landscape import Landscape, loss_landscape
from veravox.analysis.sharpness.measure import Measure, TrialWindows, measure_sharpness, planned_batches
from veravox.analysis.sharpness.table import SharpnessTable
from veravox.errors import ConfigurationError
from veravox.models.checkpoint import CHECKPOINT_NAME
from veravox.scoring import load_detector
from veravox.tables import Protocol
from veravox.training.track import Progress, no_progress

TABLES = (".json", ".parquet")
KINDS = tuple((directions, dimensions) for directions in ("random", "hessian") for dimensions in (1, 2))


@dataclass(frozen=True)
class ModelSources:
    """The models that sources name.

    Args:
        names: of each checkpoint or table its name in tables and pictures.
        unfinished: folders of runs that hold no checkpoint yet.
    """

    names: dict[str, str]
    unfinished: list[str] = field(default_factory=list)


def find_models(sources: Sequence[str]) -> ModelSources:
    """Name what is measured: a folder of runs stands for every run in it, seeds in `seed-N` folders too.

    Args:
        sources: names or ids of detectors, checkpoints, run folders, folders of runs, or earlier tables.
    Raises:
        ConfigurationError: for a folder without runs.
    """
    detectors, unfinished = [], []
    for source in sources:
        folder = Path(source)
        if not folder.is_dir() or (folder / CHECKPOINT_NAME).is_file():
            detectors.append(source)
            continue
        runs = sorted(path.parent for path in folder.glob(f"*/{CHECKPOINT_NAME}"))
        runs += sorted(path.parent for path in folder.glob(f"*/*/{CHECKPOINT_NAME}"))
        begun = {path.parent for pattern in ("", "*/", "*/*/") for path in folder.glob(f"{pattern}recipe.yaml")}
        unfinished += sorted(str(path) for path in begun if not (path / CHECKPOINT_NAME).is_file())
        if not runs:
            raise ConfigurationError(f"{source!r} holds neither {CHECKPOINT_NAME} nor runs with one")
        detectors += [str(run) for run in runs]
    # A run that is named by itself and in its folder is one model.
    once = {str(Path(source).resolve()) if Path(source).exists() else source: source for source in detectors[::-1]}
    return ModelSources(_short_names([source for source in detectors if source in once.values()]), unfinished)


def _short_names(sources: Sequence[str]) -> dict[str, str]:
    """As few of the last parts of each path as tell all apart; `seed-0` always has the system before it."""
    parts = {source: Path(source).parts for source in sources}
    for more in range(max(map(len, parts.values()), default=0)):
        counts = {source: 1 + more + part[-1].lower().startswith("seed") for source, part in parts.items()}
        short = {source: "/".join(part[-counts[source] :]) for source, part in parts.items()}
        if len(set(short.values())) == len(short):
            return short
    return {source: source for source in sources}


def is_table(source: str) -> bool:
    """Whether a source is the table of an earlier measurement, not a model."""
    return source.lower().endswith(TABLES)


def measure_models(
    names: Mapping[str, str],
    protocols: Mapping[str, Protocol],
    settings: Measure | None = None,
    by: Sequence[str] = (),
    drift: str | None = None,
    policy: str = "first",
    device: str = "auto",
    progress: Progress | None = None,
    in_detail: Collection[str] | None = None,
) -> SharpnessTable:
    """Sharpness of every model in one table; one progress for all.

    Args:
        names: source of each model (or `.json`, `.parquet` of an earlier table) to its name, as of `find_models`.
        protocols, settings, by, drift, policy: as of `measure_sharpness`.
        device: of `load_detector`.
        progress: takes what is done and how many steps it has.
        in_detail: the sources that conditions and drift are measured of; the others only on whole protocols.
    """
    settings = settings or Measure()
    measured = [source for source in names if not is_table(source)]
    detailed = {source: in_detail is None or source in in_detail for source in measured}
    total = sum(
        planned_batches(protocols, settings, by if full else (), drift if full else None)
        for full in detailed.values()
    )
    tables = []
    with (progress or no_progress)(f"sharpness of {_counted(measured)}, batches", total) as advance:
        for source, name in names.items():
            if source in measured:
                checkpoint = load_detector(source, device)
                full = detailed[source]
                columns, added = by if full else (), drift if full else None
                tables.append(
                    measure_sharpness(checkpoint, protocols, settings, columns, added, policy, name, advance)
                )
            else:
                tables.append(SharpnessTable.read(source))
    return SharpnessTable.join(tables)


def draw_landscapes(
    names: Mapping[str, str],
    protocol: Protocol,
    settings: Measure | None = None,
    points: int = 15,
    reach: float = 1.0,
    policy: str = "first",
    device: str = "auto",
    progress: Progress | None = None,
) -> list[Landscape]:
    """Landscapes of every model on the same batches: random and Hessian directions, one and two dimensions.

    Args:
        names, protocol, policy, device, progress: as of `measure_models`.
        settings: its batch size, batches (4 unless set), class weights and seed count.
        points, reach: as of `loss_landscape`.
    """
    settings = settings or Measure()
    landscapes = []
    total = len(names) * sum(points**dimensions for _, dimensions in KINDS)
    with (progress or no_progress)(f"landscapes of {_counted(list(names))}, points", total) as advance:
        for source, name in names.items():
            checkpoint = load_detector(source, device)
            weights = settings.with_weights_of(checkpoint).class_weights or (1.0, 1.0)
            batches = TrialWindows(protocol, checkpoint, policy).batches(
                settings.batch_size, settings.max_batches or 4, settings.seed
            )
            for directions, dimensions in KINDS:
                landscapes.append(
                    loss_landscape(
                        checkpoint.model,
                        batches,
                        directions,  # type: ignore[arg-type]
                        dimensions,  # type: ignore[arg-type]
                        points,
                        reach,
                        weights,
                        settings.seed,
                        name,
                        advance,
                    )
                )
    return landscapes


def _counted(sources: Sequence[str]) -> str:
    return sources[0] if len(sources) == 1 else f"{len(sources)} models"


__all__ = ["ModelSources", "draw_landscapes", "find_models", "is_table", "measure_models"]
