"""`veravox train`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veravox.apps.arguments import Json, Limit, Quiet, name_and_value

if TYPE_CHECKING:
    from veravox.tables import Protocol
    from veravox.training.recipe import Recipe

DATA = (
    "NAME=PROTOCOL, repeatable. train=... and dev=... give the parts; any other name is a protocol with a "
    "'split' column, of which train and dev are used and eval is left alone."
)


def command(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, or a YAML file.")],
    data: Annotated[list[str], typer.Option(help=DATA)],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    settings: Annotated[
        list[str], typer.Option("--set", metavar="FIELD=VALUE", help="Change a field: training.epochs=3.")
    ] = [],  # noqa: B006
    sam: Annotated[
        float | None, typer.Option(metavar="RHO", help="Train with a sharpness-aware step of this radius.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="0,1,2 or 0-2: train each into OUT/seed-N, and give mean and deviation.")
    ] = None,
    cross_fit: Annotated[
        int,
        typer.Option(
            min=0,
            help="Folds of sources: train without each too; what was left out sets calibration and thresholds.",
        ),
    ] = 0,
    group: Annotated[str, typer.Option(help="Column whose values one fold keeps together.")] = "source",
    features: Annotated[
        Path | None, typer.Option(help="Folder of cached features, to share between runs [OUT/features].")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on exactly where it stopped, or begin; finished seeds stay.")
    ] = False,
    on_bad_file: Annotated[
        str,
        typer.Option(help="stop or skip, if a file cannot be read; all are read before the first step."),
    ] = "stop",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Number of processes that load and augment.")] = 2,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Number of threads of the model [torch's choice].")
    ] = None,
    limit: Limit = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a recipe: fit on train, select on dev; eval trials are rejected.

    Under torchrun, several processes train together.
    """
    from veravox.apps import show
    from veravox.errors import ConfigurationError
    from veravox.training.recipe import change

    if on_bad_file not in ("stop", "skip"):
        raise ConfigurationError(f"--on-bad-file takes stop or skip, not {on_bad_file!r}")
    if cross_fit and seeds is not None:
        raise ConfigurationError("--seeds and --cross-fit each train several times; give one of them")
    plan = change(find_recipe(recipe, sam), settings)
    each = None if seeds is None else _seeds(seeds, settings)
    train, dev = gather(data)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    from veravox.scoring.detector import resolve_device
    from veravox.training.processes import joined_processes

    chosen = resolve_device(device)
    with joined_processes(chosen) as processes:
        quiet = quiet or not processes.is_main
        show.say(f"recipe {plan.name}, {len(train)} train and {len(dev)} dev trials, on {chosen}", quiet)
        numbered = chosen.type == "cuda" and processes.count > 1
        options: dict[str, Any] = {
            "device": f"cuda:{processes.local_rank}" if numbered else str(chosen),
            "workers": workers,
            "resume": resume,
            "on_bad_file": on_bad_file,
            "processes": processes,
            "progress": lambda what, total: show.progress(what, total, quiet),
            "say": lambda line: show.say(line, quiet),
            "features": features,
        }
        figures, text = _train(plan, train, dev, out, each, cross_fit, group, options)
        if processes.is_main and as_json:
            show.print_json({"recipe": plan.name, "out": str(out), **figures})
        elif processes.is_main:
            print(f"{text}, written to {out}")


def _train(
    plan: Recipe,
    train: Protocol,
    dev: Protocol,
    out: Path,
    seeds: tuple[int, ...] | None,
    folds: int,
    group: str,
    options: dict[str, Any],
) -> tuple[dict[str, Any], str]:
    """Train once, once per seed, or with folds; the dev figures as data and as text."""
    from veravox.training import fit, fit_crossed, fit_seeds

    if seeds is not None:
        runs = fit_seeds(plan, seeds, train, dev, out, **options)
        lines = [f"seed {run.seed}: dev EER {100 * run.dev_eer:.2f} %" for run in runs.runs]
        return runs.to_dict(), "\n".join([*lines, str(runs)])
    if folds:
        trained = fit_crossed(plan, train, dev, out, folds=folds, group=group, **options)
    else:
        trained = fit(plan, train, dev, out, **options)
    figures = trained.provenance["metrics"]
    return figures, f"dev EER {100 * figures['dev_eer']:.2f} %"


def _seeds(text: str, settings: list[str]) -> tuple[int, ...]:
    from veravox.errors import ConfigurationError

    if any(setting.partition("=")[0].strip() == "seed" for setting in settings):
        raise ConfigurationError("--seeds and --set seed=... both name seeds; give one of them")
    return parse_seeds(text)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds written as `0,1,2` or `0-2`.

    Raises:
        ConfigurationError: for anything else, a seed named twice, or a lone number, which could mean either.
    """
    from veravox.errors import ConfigurationError

    if re.fullmatch(r"\d+", text.strip()):
        raise ConfigurationError(
            f"--seeds {text}: write 0-{max(int(text) - 1, 1)} for that many, or --set seed={text} for that one"
        )
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if match is None:
            raise ConfigurationError(f"--seeds {text!r}: write numbers such as 0,1,2 or a range such as 0-2")
        first, last = int(match[1]), int(match[2] or match[1])
        seeds += range(first, last + 1)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigurationError(f"--seeds {text!r}: name every seed once, a range from its smaller number")
    return tuple(seeds)


def find_recipe(name: str, rho: float | None = None) -> Recipe:
    """A recipe by name or from a YAML file; with a sharpness-aware step of radius `rho` if one is given."""
    from veravox.recipes import recipe, sam
    from veravox.training.recipe import read_recipe

    plain = read_recipe(name) if Path(name).suffix.lower() in (".yaml", ".yml") else recipe(name)
    return plain if rho is None else sam(plain, rho)


def gather(data: list[str]) -> tuple[Protocol, Protocol]:
    """Train and dev protocols from NAME=PROTOCOL arguments; each row's `domain` defaults to NAME."""
    import polars as pl

    from veravox.errors import ConfigurationError
    from veravox.tables import Protocol, read_protocol

    parts: dict[str, list[pl.DataFrame]] = {"train": [], "dev": []}
    for item in data:
        name, path = name_and_value(item, "--data", "NAME=PROTOCOL")
        protocol = read_protocol(path)
        protocol.require("path", "label")
        frame = protocol.frame.with_columns(pl.Series("path", protocol.audio_paths(), dtype=pl.String))
        if "domain" not in frame.columns:
            frame = frame.with_columns(pl.lit(name).alias("domain"))
        if name in parts:
            parts[name].append(frame)
            continue
        protocol.require("split")
        for part, frames in parts.items():
            frames.append(frame.filter(pl.col("split").str.to_lowercase() == part))
    for part, frames in parts.items():
        if not sum(map(len, frames)):
            raise ConfigurationError(f"no {part} trials: give --data {part}=PROTOCOL, or a protocol with 'split'")
    train, dev = (
        Protocol(pl.concat(frames, how="diagonal_relaxed"), name=f"the {part} data")
        for part, frames in parts.items()
    )
    return train, dev
