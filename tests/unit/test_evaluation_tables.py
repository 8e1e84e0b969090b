"""The papers' tables: means over datasets, spreads over seeds, marks where they belong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from veravox.errors import EvaluationError
from veravox.evaluation import Grid, GridCell, Run, accuracy_grid, collect, equal_error_rate, results_grid
from veravox.evaluation.tables.grid import latex_text
from veravox.tables import Protocol


def make(folder, name, scores):
    folder.mkdir(parents=True, exist_ok=True)
    rows = "utterance_id,score\n" + "".join(f"{name}{index},{score!r}\n" for index, score in enumerate(scores))
    (folder / f"{name}.csv").write_text(rows)


def protocol_of(name, labels, **columns):
    rows = [
        {"utterance_id": f"{name}{index}", "label": label}
        | {key: values[index] for key, values in columns.items()}
        for index, label in enumerate(labels)
    ]
    return Protocol.from_rows(rows, name=name)


LABELS = ["bonafide"] * 4 + ["spoof"] * 4


@pytest.fixture
def runs(tmp_path):
    """Two systems, two seeds of the first, three datasets."""
    rng = np.random.default_rng(0)
    scores = {}
    for folder, gap in (("mele-seed1", 1.0), ("mele-seed2", 0.5), ("mile", 2.0)):
        for dataset in ("A", "B", "C"):
            values = (rng.normal(0, 1, 8) + gap * np.array([1] * 4 + [-1] * 4)).tolist()
            scores[folder, dataset] = values
            make(tmp_path / folder, dataset, values)
    return tmp_path, scores


def test_a_column_is_the_mean_over_seeds_and_a_pool_the_mean_over_datasets(runs):
    folder, scores = runs
    protocols = {name: protocol_of(name, LABELS) for name in "ABC"}
    parsed = [Run.parse(folder / name) for name in ("mele-seed1", "mele-seed2", "mile")]
    results = collect(parsed, protocols, pools={"known": ["A", "B"], "all": ["*"]}, pooled=True)

    def eer(run, *datasets):
        values = [scores[run, dataset] for dataset in datasets]
        return equal_error_rate([s for v in values for s in v[:4]], [s for v in values for s in v[4:]])

    seeds = [eer("mele-seed1", "A"), eer("mele-seed2", "A")]
    assert results.of("mele", "A", "eer") == seeds
    assert results.of("mile", "known", "eer") == [np.mean([eer("mile", "A"), eer("mile", "B")])]
    assert results.of("mile", "all", "eer") == [np.mean([eer("mile", name) for name in "ABC"])]
    assert results.of("mile", "known (pooled)", "eer") == [eer("mile", "A", "B")]
    grid = results_grid(results)
    assert grid.columns == ("system", "A", "B", "C", "known", "known (pooled)", "all", "all (pooled)")
    assert grid.rows[0][0].text == "mele"
    assert grid.rows[0][1].text == f"{100 * np.mean(seeds):.2f} ± {100 * np.std(seeds, ddof=1):.2f}"
    assert "known: macro mean over A, B" in grid.caption
    assert "standard deviation over 1 to 2 runs" in grid.caption


def test_one_file_may_hold_all_datasets_but_no_stranger(runs, tmp_path):
    folder, scores = runs
    protocols = {name: protocol_of(name, LABELS) for name in "AB"}
    lines = [f"{name}{i},{s!r}" for name in "AB" for i, s in enumerate(scores["mile", name])]
    path = tmp_path / "whole.csv"
    path.write_text("utterance_id,score\n" + "\n".join(lines) + "\n")
    one = collect([Run.parse(path)], protocols)
    many = collect([Run.parse(folder / "mile")], protocols)
    assert one.of("whole", "A", "eer") == many.of("mile", "A", "eer")
    path.write_text(path.read_text() + "stranger,1\n")
    with pytest.raises(Exception, match="have no trial in 'A', first 'stranger'"):
        collect([Run.parse(path)], protocols)


def test_runs_are_named_as_they_are_written(tmp_path):
    (tmp_path / "deep").mkdir()
    assert Run.parse("runs/mele-seed3") == Run.parse("mele:runs/mele-seed3")
    assert Run.parse("runs/mele/seed_1").system == "mele"
    assert Run.parse("AASIST/SAM:runs/x").variant == "SAM"
    assert Run.parse("runs/lcnn.csv").system == "lcnn"


def test_a_run_without_a_dataset_says_where_it_looked(runs):
    folder, _ = runs
    with pytest.raises(EvaluationError, match=r"needs one score file for the dataset 'D', such as D.csv"):
        collect([Run.parse(folder / "mile")], {"D": protocol_of("D", LABELS)})
    with pytest.raises(EvaluationError, match="pool 'known': no dataset 'X'"):
        collect([Run.parse(folder / "mile")], {"A": protocol_of("A", LABELS)}, pools={"known": ["X"]})


def test_variants_share_a_cell_and_the_better_one_is_marked(runs):
    folder, _ = runs
    parsed = [Run.parse(f"AASIST/Adam:{folder / 'mele-seed1'}"), Run.parse(f"AASIST/SAM:{folder / 'mile'}")]
    results = collect(parsed, {"A": protocol_of("A", LABELS)})
    (cell,) = results_grid(results).rows[0][1:]
    values = [piece.value for piece in cell.pieces]
    assert [piece.rank for piece in cell.pieces] == [sorted(set(values)).index(value) + 1 for value in values]
    assert cell.shown(lambda piece: piece.text) == " / ".join(f"{100 * value:.2f}" for value in values)


def test_pairs_of_figures_are_each_ranked_their_own_way(runs):
    folder, _ = runs
    parsed = [Run.parse(folder / "mile"), Run.parse(folder / "mele-seed1")]
    results = collect(parsed, {"A": protocol_of("A", LABELS)}, metrics=["eer", "auc"])
    cells = [row[1] for row in results_grid(results).rows]
    for position, better in ((0, min), (1, max)):
        values = [cell.pieces[position].value for cell in cells]
        best = [cell.pieces[position].value for cell in cells if cell.pieces[position].rank == 1]
        assert set(best) == {better(values)}


def test_accuracies_are_shares_of_each_source_and_generator(tmp_path):
    labels = ["bonafide"] * 4 + ["spoof"] * 4
    sources = ["radio", "radio", "phone", "phone", None, None, None, None]
    attacks = [None, None, None, None, "x", "x", "x", "y"]
    make(tmp_path, "task", [1, -1, 2, 3, -1, -1, 1, -2])
    protocol = protocol_of("task", labels, source_id=sources, attack_id=attacks)
    grid = accuracy_grid([Run.parse(tmp_path / "task.csv")], protocol, ["source_id", "attack_id"], at=0)
    found = dict(zip(grid.columns, grid.texts()[0], strict=True))
    assert found["balanced accuracy"] == "0.750"
    assert found["source_id radio"] == "0.500"
    assert found["source_id phone"] == "1.000"
    assert found["attack_id x"] == "0.667"
    assert found["attack_id y"] == "1.000"


def test_a_condition_that_both_classes_have_shows_its_balanced_accuracy(tmp_path):
    make(tmp_path, "task", [1, -1, 2, 3, -1, -1, 1, -2])
    codecs = ["mp3", "mp3", "aac", "aac", "mp3", "mp3", "aac", "aac"]
    protocol = protocol_of("task", LABELS, codec=codecs)
    grid = accuracy_grid([Run.parse(tmp_path / "task.csv")], protocol, ["codec"], at=0)
    found = dict(zip(grid.columns, grid.texts()[0], strict=True))
    assert (found["codec mp3"], found["codec aac"]) == ("0.750", "0.750")
    assert "Verdicts at 0 of all trials together, one threshold a system: task 0." in grid.caption


def test_a_condition_can_show_its_eer_behind_its_balanced_accuracy(tmp_path):
    scores = [1, -1, 2, 3, -1, -1, 1, -2]
    make(tmp_path, "task", scores)
    codecs = ["mp3", "mp3", "aac", "aac", "mp3", "mp3", "aac", "aac"]
    protocol = protocol_of("task", LABELS, codec=codecs)
    by = ["codec"]
    grid = accuracy_grid([Run.parse(tmp_path / "task.csv")], protocol, by, at=0, metrics=["eer"])
    cells = dict(zip(grid.columns, grid.rows[0], strict=True))
    for codec in ("mp3", "aac"):
        chosen = [(s, label) for s, label, c in zip(scores, LABELS, codecs, strict=True) if c == codec]
        sides = [np.array([s for s, label in chosen if label == side], float) for side in ("bonafide", "spoof")]
        accuracy, eer = cells[f"codec {codec}"].pieces
        assert accuracy.text == "0.750"
        assert eer.value == pytest.approx(equal_error_rate(*sides))
    assert len(cells["balanced accuracy"].pieces) == 2
    assert len(cells["TPR (spoof found)"].pieces) == 1


TEXT = st.text(alphabet=st.characters(exclude_categories=("C", "Z")), max_size=8)


def grid_of(columns):
    rows = list(zip(*columns, strict=True))
    cells = [[GridCell("r"), *(GridCell(f"{value}", value) for value in row)] for row in rows]
    return Grid.of(["system", *(f"c{index}" for index in range(len(columns)))], cells)


@given(st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=4))
def test_the_best_and_the_second_of_each_column_are_marked_with_ties(columns):
    grid = grid_of(columns).ranked(lambda position: True)
    for index, column in enumerate(columns):
        order = sorted(set(column))
        ranks = [row[index + 1].rank for row in grid.rows]
        assert ranks == [order.index(value) + 1 if value in order[:2] else 0 for value in column]
    assert all(row[0].rank == 0 for row in grid.rows)


def test_marks_show_in_every_form():
    grid = Grid.of(
        ["system", "EER_%"], [["a & b", GridCell("1.0", 1.0)], ["c|d", GridCell("2.0 ± 0.1", 2.0)]], "EER, %"
    ).ranked(lambda position: True)
    markdown, latex, plain = (grid.written(form) for form in ("markdown", "latex", "csv"))
    assert "**1.0**" in markdown
    assert "<u>2.0 ± 0.1</u>" in markdown
    assert "c\\|d" in markdown
    assert r"a \& b & \textbf{1.0} \\" in latex
    assert r"\underline{2.0 $\pm$ 0.1}" in latex
    assert r"\toprule" in latex
    assert r"EER\_\%" in latex
    assert plain == "system,EER_%\na & b,1.0\nc|d,2.0 ± 0.1\n"
    assert 'class="number best"' in grid.html()


def test_turning_a_grid_twice_changes_nothing():
    grid = grid_of([[1, 2, 3], [3, 1, 2]]).ranked(lambda position: True)
    twice = grid.transposed().transposed()
    assert twice.texts() == grid.texts()
    assert [[cell.rank for cell in row] for row in twice.rows] == [
        [cell.rank for cell in row] for row in grid.rows
    ]


@given(TEXT)
def test_no_text_is_a_command_in_latex(text):
    escaped = latex_text(text)
    bare = (
        escaped.replace(r"\textbackslash{}", "")
        .replace(r"\textasciitilde{}", "")
        .replace(r"\textasciicircum{}", "")
    )
    for character in "&%#_":
        assert bare.count(character) == bare.count("\\" + character)
