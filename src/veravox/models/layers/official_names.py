"""Parameter names of published checkpoints, group by group, as experts map them to their own."""

from __future__ import annotations

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
LINEAR = ("weight", "bias")
RECURRENT = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def fields(theirs: str, ours: str, fields: tuple[str, ...]) -> dict[str, str]:
    """The named fields of a layer of theirs, to those of ours."""
    return {f"{theirs}.{field}": f"{ours}.{field}" for field in fields}
