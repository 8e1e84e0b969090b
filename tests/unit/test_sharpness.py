"""Sharpness measures against known answers, landscapes, tables, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from tiny import tiny_checkpoint
from veravox.analysis import (
    Measure,
    SharpnessTable,
    correlate,
    find_models,
    loss_landscape,
    measure_sharpness,
    write_sharpness_report,
)
from veravox.analysis.conditions import conditions
from veravox.analysis.sharpness import plots
from veravox.analysis.sharpness.measure import LabelledWindows, TrialWindows, measure_batch, planned_batches
from veravox.analysis.sharpness.plots import system_of
from veravox.analysis.sharpness.table import COLUMNS
from veravox.analysis.sharpness.weights import WeightSpace, length, top_eigenvectors
from veravox.apps.cli import main
from veravox.errors import ConfigurationError, EvaluationError, ProtocolError
from veravox.models import write_checkpoint
from veravox.tables import Protocol

ALL = ("one_step", "ascent", "adaptive", "average", "eigenvalue")


@pytest.fixture
def protocol(samples) -> Protocol:
    frame = Protocol.read(samples / "protocol.csv").frame
    some = pl.concat([frame.filter(pl.col("label") == label).head(8) for label in ("bonafide", "spoof")])
    return Protocol(some, "some", samples)


class Quadratic(nn.Module):
    """Loss 0.5 sum(c w^2), whatever the windows."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))

    def loss(self) -> torch.Tensor:
        return 0.5 * (torch.tensor([2.0, -1.0]) * self.weight.square()).sum()


def test_the_largest_eigenvalue_is_found_even_where_a_negative_one_is_larger_in_size():
    module = Quadratic()
    for curvature, wanted in (((2.0, -1.0), 2.0), ((2.0, -5.0), 2.0), ((2.0, 7.0), 7.0)):
        loss = lambda c=curvature: 0.5 * (torch.tensor(c) * module.weight.square()).sum()  # noqa: E731
        generator = torch.Generator().manual_seed(0)
        found = top_eigenvectors(WeightSpace(module), loss, 2, generator, rounds=60, tolerance=1e-4)
        assert found[0][0] == pytest.approx(wanted, rel=0.01)
        assert found[1][0] == pytest.approx(min(curvature), rel=0.01)


def test_the_largest_eigenvalue_needs_few_products_where_power_iteration_is_far_off():
    values = torch.cat([torch.linspace(-1.5, 0.9, 79), torch.ones(1)])
    turn, _ = torch.linalg.qr(torch.randn(80, 80, generator=torch.Generator().manual_seed(0)))
    hessian = turn @ torch.diag(values) @ turn.T
    module, products = nn.Linear(80, 1, bias=False), []

    def loss() -> torch.Tensor:
        products.append(1)
        flat = module.weight.flatten()
        return 0.5 * flat @ hessian @ flat

    generator = torch.Generator().manual_seed(1)
    ((value, vector),) = top_eigenvectors(WeightSpace(module), loss, 1, generator, rounds=30, tolerance=1e-3)
    assert value == pytest.approx(1.0, rel=0.005)
    assert abs(float(vector[0].flatten() @ turn[:, -1])) > 0.9
    assert len(products) <= 2 * 20, "two gradients a product"
    power = torch.randn(80, generator=generator)
    for _ in range(20):
        power = hessian @ power + 1.5 * power  # shifted, so that the largest is also the largest in size
        power /= power.norm()
    assert float(power @ hessian @ power) < 0.95


def test_progress_is_told_of_every_planned_batch(protocol):
    told: list[int] = []
    how = Measure(batch_size=4, max_batches=2)
    measure_sharpness(
        tiny_checkpoint(), {"a": protocol, "b": protocol}, how, ["language"], "label", progress=told.append
    )
    assert sum(told) == planned_batches({"a": protocol, "b": protocol}, how, ["language"], "label")


def test_a_folder_of_runs_stands_for_each_run_and_seed_and_names_what_is_not_finished(tmp_path, protocol, capsys):
    for seed, run in enumerate(("adam/seed-0", "adam/seed-1", "sam-0")):
        write_checkpoint(tiny_checkpoint(seed), tmp_path / "runs" / run)
    (tmp_path / "runs/sam-1").mkdir()
    (tmp_path / "runs/sam-1/recipe.yaml").write_text("name: sam\n")
    one = str(tmp_path / "runs/sam-0")
    found = find_models([one, str(tmp_path / "runs")])
    assert sorted(found.names.values()) == ["adam/seed-0", "adam/seed-1", "sam-0"]
    assert [Path(folder).name for folder in found.unfinished] == ["sam-1"]
    assert [system_of(name) for name in sorted(found.names.values())] == ["adam", "adam", "sam"]
    Protocol(protocol.frame.with_columns(path=pl.Series(protocol.audio_paths()))).write(tmp_path / "p.csv")
    options = ["--correlate", str(tmp_path / "runs"), "--batch-size", "8", "--by", "attack_id"]
    options += ["--out", str(tmp_path / "t.parquet"), "--json", "--quiet"]
    with pytest.raises(SystemExit) as stopped:
        main(["sharpness", one, f"some={tmp_path / 'p.csv'}", *options])
    printed = capsys.readouterr()
    assert stopped.value.code == 0
    assert "sam-1 holds no checkpoint yet" in printed.err
    content = json.loads(printed.out)
    assert content["correlations"][0]["models"] == 3
    table = SharpnessTable.read(tmp_path / "t.parquet")
    assert table.frame.filter(pl.col("column") == "all")["model"].n_unique() == 3
    assert set(table.frame.filter(pl.col("column") == "attack_id")["model"]) == {"sam-0"}
    assert content["sharpness"] == table.frame.to_dicts()
    with pytest.raises(ConfigurationError, match="holds neither"):
        find_models([str(tmp_path / "runs/sam-1")])


def test_weights_come_back_bit_by_bit_and_one_step_is_the_published_formula():
    detector = tiny_checkpoint().model
    windows = 0.1 * torch.randn(4, detector.spec.window_samples, generator=torch.Generator().manual_seed(0))
    batch = LabelledWindows(windows, torch.tensor([0.0, 1.0, 0.0, 1.0]))
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    found = measure_batch(detector, batch, Measure(ALL, rho=0.2, rounds=3))
    for name, value in detector.state_dict().items():
        assert torch.equal(before[name], value), name
    assert found["ascent"] >= found["one_step"]
    parameters = list(detector.parameters())
    loss_of = lambda: nn.functional.binary_cross_entropy_with_logits(detector(windows).logits, batch.targets)  # noqa: E731
    start = loss_of()
    gradients = torch.autograd.grad(start, parameters, allow_unused=True)
    norm = torch.stack([g.norm() for g in gradients if g is not None]).norm()
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter.add_(0.2 * gradient / norm)
        assert found["one_step"] == pytest.approx(float(loss_of() - start), rel=1e-4)


def test_filter_normalised_directions_are_as_long_as_the_weights_filter_by_filter():
    space = WeightSpace(nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)))
    direction = space.filter_normalised(space.gaussian(torch.Generator().manual_seed(0)))
    for parameter, part in zip(space.parameters, direction, strict=True):
        if parameter.ndim > 1:
            torch.testing.assert_close(part.flatten(1).norm(dim=1), parameter.detach().flatten(1).norm(dim=1))
        else:
            assert length([part]) == 0


def test_conditions_have_both_classes_and_drift_ends_at_the_whole(protocol):
    trials = TrialWindows(protocol, tiny_checkpoint())
    for column, _, members in conditions(protocol, ["attack_id", "language"]):
        labels = trials.is_bona_fide[members]
        assert labels.any(), column
        assert not labels.all(), column
    table = measure_sharpness(
        tiny_checkpoint(), {"some": protocol}, Measure(batch_size=8, max_batches=1), drift="label"
    )
    drift = table.frame.filter(pl.col("column") == "drift:label")
    assert drift["trials"].to_list()[-1] == 8
    assert drift["condition"].to_list() == ["1: +bonafide", "2: +spoof"]


def test_a_column_that_is_not_there_and_a_measure_that_is_unknown_are_named(protocol):
    with pytest.raises(ProtocolError, match="did you mean 'language'"):
        measure_sharpness(tiny_checkpoint(), {"some": protocol}, Measure(), by=["langage"])
    with pytest.raises(ConfigurationError, match="one_step"):
        Measure(("onestep",))
    with pytest.raises(ConfigurationError, match="odd"):
        loss_landscape(tiny_checkpoint().model, [], points=4)


def test_a_landscape_has_the_weights_own_loss_in_its_middle(protocol):
    checkpoint = tiny_checkpoint()
    batches = TrialWindows(protocol, checkpoint).batches(8, 1)
    own = measure_batch(checkpoint.model, batches[0], Measure())["loss"]
    for dimensions in (1, 2):
        found = loss_landscape(checkpoint.model, batches, "random", dimensions, points=3)
        assert found.losses[(1,) * dimensions] == pytest.approx(own, rel=1e-5)


def table_of(values, eers) -> SharpnessTable:
    rows = [
        {
            "model": f"m{i}",
            "protocol": "p",
            "column": "all",
            "condition": "all",
            "measure": "one_step",
            "rho": 0.05,
            "value": value,
            "low": value,
            "high": value,
            "batches": 2,
            "trials": 9,
            "loss": 0.1,
            "eer": eer,
        }
        for i, (value, eer) in enumerate(zip(values, eers, strict=True))
    ]
    return SharpnessTable(pl.DataFrame(rows))


def test_correlations_are_those_of_the_textbook_and_too_few_models_are_refused():
    rows = correlate(table_of([1.0, 2.0, 3.0, 10.0], [0.1, 0.2, 0.3, 0.4]))
    assert rows[0]["spearman"] == pytest.approx(1)
    assert rows[0]["kendall"] == pytest.approx(1)
    assert rows[0]["pearson"] == pytest.approx(np.corrcoef([1, 2, 3, 10], [1, 2, 3, 4])[0, 1])
    assert rows[0]["pearson_low"] <= rows[0]["pearson"] <= rows[0]["pearson_high"] + 1e-9
    with pytest.raises(EvaluationError, match="three models"):
        correlate(table_of([1.0, 2.0], [0.1, 0.2]))
    mixed = table_of([1.0, 2.0, 3.0], [0.1, 0.2, 0.3]).frame.with_columns(rho=pl.Series([0.05, 0.05, 0.1]))
    with pytest.raises(EvaluationError, match="different rho"):
        correlate(SharpnessTable(mixed))


@pytest.mark.parametrize("ending", ["json", "parquet"])
def test_a_table_is_read_as_it_was_written(tmp_path, ending):
    table = table_of([1.0, 2.0], [0.1, None])
    table.write(tmp_path / f"t.{ending}")
    assert SharpnessTable.read(tmp_path / f"t.{ending}").frame.equals(table.frame)


def test_the_command_measures_names_what_it_cannot_hear_and_draws(protocol, tmp_path, capsys):
    broken = tmp_path / "broken.flac"
    broken.write_bytes(b"no audio")
    frame = protocol.frame.select("utterance_id", "path", "label", "language").with_columns(
        path=pl.Series([str(protocol.root / path) for path in protocol.frame["path"][:-1]] + [str(broken)])
    )
    Protocol(frame).write(tmp_path / "p.csv")
    write_checkpoint(tiny_checkpoint(), tmp_path / "model")
    options = ["--batch-size", "8", "--landscape", "--points", "3", "--report", str(tmp_path / "page"), "--json"]
    with pytest.raises(SystemExit) as stopped:
        main(["sharpness", str(tmp_path / "model"), f"some={tmp_path / 'p.csv'}", "--quiet", *options])
    assert stopped.value.code == 1
    printed = capsys.readouterr()
    assert "broken.flac" in printed.err
    content = json.loads(printed.out)
    assert content["sharpness"][0]["trials"] == 15
    assert content["sharpness"][0]["low"] <= content["sharpness"][0]["value"] <= content["sharpness"][0]["high"]
    made = {path.name for path in (tmp_path / "page").iterdir()}
    wanted = {"index.html", "sharpness.parquet", "sharpness.json", "landscape-1d-random.png"}
    assert made >= {*wanted, "landscape-2d-hessian-0.png"}


def test_the_report_of_many_models_holds_scatter_and_coefficients(tmp_path):
    table = table_of([1.0, 2.0, 3.0, 5.0], [0.1, 0.3, 0.2, 0.4])
    page = write_sharpness_report(table, tmp_path, correlations=correlate(table))
    assert "kendall" in page.read_text()
    assert (tmp_path / "correlation-0.png").stat().st_size > 5000


@pytest.mark.parametrize("measure", ["one_step", "adaptive", "ascent"])
def test_no_words_of_the_pictures_run_off_the_paper(measure, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "as_png", drawn.append)
    frame = table_of([1.0, 2.0], [0.1, 0.2]).frame.with_columns(
        measure=pl.lit(measure),
        column=pl.lit("drift:attack_id"),
        condition=pl.Series(["1: a-long-attack", "2: tts"]),
    )
    plots.draw_drift(frame, measure)
    plots.draw_conditions(frame, measure)
    plots.draw_correlation(frame, measure, dict.fromkeys(("pearson", "spearman", "kendall")))
    for figure in drawn:
        figure.draw_without_rendering()
        axes = figure.axes[0]
        for text in filter(lambda one: one.get_text(), (axes.xaxis.label, axes.yaxis.label, axes.title)):
            box = text.get_window_extent()
            assert box.x0 >= -1, text
            assert box.y0 >= -1, text
            assert box.x1 <= figure.bbox.x1 + 1, text
            assert box.y1 <= figure.bbox.y1 + 1, text
    assert len(drawn) == 3


def test_a_table_with_text_where_numbers_belong_is_one_clear_line(tmp_path):
    (tmp_path / "t.csv").write_text(f"{','.join(COLUMNS)}\nm,p,all,all,one_step,far,1,,,1,2,1,\n")
    with pytest.raises(EvaluationError, match=r"this is no table of sharpness: .*'rho'"):
        SharpnessTable.read(tmp_path / "t.csv")


def test_classes_weigh_in_the_loss_as_they_did_in_training_unless_told(protocol):
    weighted = {"recipe": {"stages": [{"class_weights": None}, {"class_weights": [0.1, 0.9]}]}}
    before = {"recipe": {"training": {"class_weights": [0.1, 0.9]}, "stages": [{"name": "joint"}]}}
    plain = tiny_checkpoint()
    losses = {}
    for name, provenance in (("plain", {}), ("weighted", weighted), ("before", before)):
        checkpoint = replace(plain, provenance=provenance)
        table = measure_sharpness(checkpoint, {"all": protocol}, Measure(max_batches=1))
        losses[name] = table.frame["loss"][0]
    told = measure_sharpness(plain, {"all": protocol}, Measure(max_batches=1, class_weights=(0.1, 0.9)))
    assert losses["weighted"] == losses["before"] == told.frame["loss"][0]
    assert losses["weighted"] != losses["plain"]
