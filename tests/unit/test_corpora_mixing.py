"""Mixes keep their promises: what is held out is out, what is balanced is even, and everyone gets the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import polars as pl
import pytest
import yaml
from hypothesis import given, settings, strategies as st

from corpora_examples import unpack
from veravox.apps.cli import main
from veravox.corpora.mixing.draw import balanced, divided, water_fill
from veravox.corpora.mixing.mix import make_mix
from veravox.corpora.mixing.spec import mix_from_dict, named_mixes, read_mix
from veravox.corpora.reading.assemble import sample
from veravox.errors import ConfigurationError, CorpusError
from veravox.tables import Protocol, read_protocol


def trials(count=400):
    """Trials of 20 speakers, 3 languages, 4 attacks, half of them bona fide."""
    return pl.DataFrame(
        {
            "utterance_id": [f"u{i:04d}" for i in range(count)],
            "label": ["bonafide" if i % 2 else "spoof" for i in range(count)],
            "attack_id": [None if i % 2 else f"A{(i // 2) % 4}" for i in range(count)],
            "speaker_id": [f"s{i // 2 % 20}" for i in range(count)],
            "language": [("en", "en", "en", "de", "cy")[i // 2 % 5] for i in range(count)],
            "path": [f"{i}.wav" for i in range(count)],
        }
    )


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(0, 120))
@settings(deadline=None)
def test_water_filling_takes_all_it_may_as_evenly_as_it_can(sizes, count):
    taken = water_fill(sizes, count)
    assert sum(taken) == min(count, sum(sizes))
    assert all(0 <= t <= size for t, size in zip(taken, sizes, strict=True))
    open_ends = [t for t, size in zip(taken, sizes, strict=True) if t < size]
    assert not open_ends or max(taken) - min(open_ends) <= 1


def test_a_balanced_draw_has_as_many_of_every_label_and_spreads_over_attacks():
    drawn = balanced(trials(), ["label", "attack_id"], 80, seed=1)
    counts = dict(drawn.group_by("label").len().iter_rows())
    assert counts == {"bonafide": 40, "spoof": 40}
    spoof = drawn.filter(label="spoof").group_by("attack_id").len()["len"]
    assert spoof.to_list() == [10, 10, 10, 10]


@given(st.integers(0, 50), st.randoms())
@settings(max_examples=15, deadline=None)
def test_a_draw_does_not_depend_on_the_order_of_the_rows(seed, random):
    rows = trials(60)
    order = list(range(60))
    random.shuffle(order)
    assert balanced(rows[order], ["label", "language"], 20, seed).equals(
        balanced(rows, ["label", "language"], 20, seed)
    )
    assert sample(rows[order], 9, seed).equals(sample(rows, 9, seed))


def test_a_draw_is_the_same_on_every_machine_and_another_with_another_seed():
    by_digest = sorted(trials()["utterance_id"], key=lambda name: hashlib.sha256(f"0:{name}".encode()).hexdigest())
    assert sample(trials(), 5, 0)["utterance_id"].to_list() == sorted(by_digest[:5])
    assert not sample(trials(), 5, 1).equals(sample(trials(), 5, 0))
    with pytest.raises(CorpusError, match="cannot draw 401 trials; there are 400"):
        sample(trials(), 401, 0)


def test_dividing_by_speaker_keeps_every_speaker_whole_and_comes_near_the_shares():
    parts = divided(trials(), {"train": 0.7, "dev": 0.1, "eval": 0.2}, "speaker_id", seed=0)
    assert parts.group_by("speaker_id").agg(pl.col("split").n_unique())["split"].max() == 1
    sizes = dict(parts.group_by("split").len().iter_rows())
    assert sizes == {"train": 280, "dev": 40, "eval": 80}
    with pytest.raises(ConfigurationError, match="must sum to 1"):
        divided(trials(), {"train": 0.7, "dev": 0.1}, None, seed=0)


@pytest.fixture
def two(tmp_path):
    """Two protocols on disk with splits; ids that collide."""
    for place, name in enumerate(("one", "two")):
        split = pl.Series("split", [("train", "dev", "eval")[i % 3] for i in range(400)])
        frame = trials().with_columns(split, (pl.lit(f"{name}-") + pl.col("speaker_id")).alias("speaker_id"))
        Protocol(frame[: 400 - 100 * place], root=tmp_path).write(tmp_path / f"{name}.csv")
    return tmp_path


def mixed(folder, **fields):
    sources = {name: {"protocol": f"{name}.csv"} for name in ("one", "two")}
    data = {"sources": sources, "sets": {"train": {}, "dev": {}, "eval": {}}, **fields}
    return make_mix(mix_from_dict(data), folder=str(folder))


def test_ids_that_collide_are_told_apart_and_paths_stay_openable(two):
    train = mixed(two).sets["train"].frame
    assert train["utterance_id"].is_unique().all()
    assert set(train["domain"]) == {"one", "two"}
    assert set(train["split"]) == {"train"}
    assert train["path"].str.starts_with(str(two)).all()
    assert train.filter(utterance_id="two/u0000")["original_id"].to_list() == ["u0000"]


def test_sampling_by_domain_and_label(two):
    sets = {"train": {"trials_per_source": {"one": 40}, "balance": ["label"]}, "eval": {"trials_per_source": 10}}
    made = mixed(two, sets=sets)
    counts = made.sets["train"].frame.group_by("domain", "label").len()
    assert set(counts.filter(domain="one")["len"]) == {20}
    assert dict(made.sets["eval"].frame.group_by("domain").len().iter_rows()) == {"one": 10, "two": 10}


def test_what_is_held_out_is_in_no_training_set(two):
    made = mixed(two, hold_out={"attack_id": "A1", "language": ["cy"]})
    for name in ("train", "dev"):
        frame = made.sets[name].frame
        assert "A1" not in set(frame["attack_id"])
        assert "cy" not in set(frame["language"])
    assert "A1" in set(made.sets["eval"].frame["attack_id"])


def test_numbers_are_held_out_and_a_value_that_no_trial_has_is_said(two):
    for name in ("one", "two"):
        frame = read_protocol(two / f"{name}.csv").frame
        years = pl.Series("year", [2019 + place % 2 for place in range(len(frame))])
        Protocol(frame.with_columns(years), root=two).write(two / f"{name}.parquet")
    sources = {name: {"protocol": f"{name}.parquet"} for name in ("one", "two")}
    made = mixed(two, sources=sources, hold_out={"year": 2019, "attack_id": ["A11", "A2"]})
    assert set(made.sets["train"].frame["year"]) == {2020}
    assert made.notes == ["hold_out: no trial has attack_id 'A11'; did you mean 'A1'?"]
    sets = {"train": {"only": {"language": ["de", "ed"]}}, "eval": {"without": {"speaker_id": "one-s99"}}}
    notes = mixed(two, sets=sets).notes
    assert notes[0] == "set 'train', only: no trial has language 'ed'; known: cy, de, en"
    assert notes[1].startswith("set 'eval', without: no trial has speaker_id 'one-s99'; did you mean 'one-s")


def test_folds_of_values_that_would_share_a_folder_are_refused(two):
    frame = read_protocol(two / "one.csv").frame
    renamed = frame.with_columns(pl.col("attack_id").replace({"A0": "tts/x", "A1": "tts_x"}))
    Protocol(renamed, root=two).write(two / "one.csv")
    with pytest.raises(ConfigurationError, match="'tts/x' and 'tts_x' would share the folder 'without-tts_x'"):
        mixed(two, folds={"by": "attack_id"})


@pytest.mark.parametrize("by", ["attack_id", "speaker_id", "language"])
def test_leave_one_out_folds_train_without_what_they_test(two, by):
    made = mixed(two, folds={"by": by})
    folds = {name.split("/")[0] for name in made.sets}
    assert len(folds) == {"attack_id": 4, "speaker_id": 40, "language": 3}[by]
    for fold in folds:
        held = set(made.sets[f"{fold}/eval"].frame[by].drop_nulls())
        assert len(held) == 1
        assert not held & set(made.sets[f"{fold}/train"].frame[by])
        assert not held & set(made.sets[f"{fold}/dev"].frame[by])
        assert set(made.sets[f"{fold}/eval"].frame["label"]) == {"bonafide", "spoof"}


def test_a_dash_for_the_generator_of_bona_fide_trials_is_no_generator(two):
    for name in ("one", "two"):
        path = two / f"{name}.csv"
        frame = read_protocol(path).frame
        Protocol(frame.with_columns(pl.col("attack_id").fill_null("-")), root=two).write(path)
    made = mixed(two, folds={"by": "attack_id"})
    assert sorted({name.split("/")[0] for name in made.sets}) == [f"without-A{i}" for i in range(4)]
    assert set(made.sets["without-A1/eval"].frame["label"]) == {"bonafide", "spoof"}


def test_folds_in_groups_test_every_speaker_once(two):
    made = mixed(two, folds={"by": "speaker_id", "groups": 5})
    tested = [s for i in range(1, 6) for s in set(made.sets[f"fold-{i}/eval"].frame["speaker_id"])]
    assert len(tested) == len(set(tested)) == 40


def test_a_trial_that_would_be_trained_and_tested_on_is_an_error(two):
    sets = {"train": {}, "eval": {"splits": ["train", "eval"]}}
    with pytest.raises(CorpusError, match="train and eval of mix 'mix' share trials: 'one/u0000'"):
        mixed(two, sets=sets)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sets": {"train": {"balence": []}}}, "has no option 'balence'; did you mean 'balance'"),
        ({"sets": {"train": {"sources": ["oen"]}}}, "takes from 'oen', which is no source; did you mean 'one'"),
        ({"sets": {"train": {"trials": "many"}}}, "'trials' must be"),
        ({"sets": {"train": {"role": "test"}}}, "must be train, dev or eval, not 'test'"),
        ({"sources": {"one": {"corpus": "vctk", "options": {"mic": 1}}}}, "has no option 'mic'"),
        ({"sources": {"one": {}}}, "needs either a corpus or a protocol"),
        ({"folds": {"by": "speaker"}}, "did you mean 'speaker_id'"),
        ({"sets": {"train": {"trials": -5}}}, "trials_per_source must be at least 1"),
        ({"sets": {"train": {"trials_per_source": {"two": 0}}}}, "trials_per_source must be at least 1"),
        ({"sets": {"train": {"trials_per_source": {"tow": 9}}}}, "'tow' is no source; did you mean 'two'"),
        ({"seed": "x"}, "'seed' must be int"),
        ({"seeds": 3}, "has no field 'seeds'; did you mean 'seed'"),
        ({"sets": {"train": {"balance": ["mood"]}}}, "no trial has the column 'mood'"),
        ({"sets": {"train": {"only": {"label": ["none"]}}}}, "no trial is left for 'train'"),
    ],
)
def test_a_wrong_mix_is_answered_before_anything_is_written(two, change, message):
    with pytest.raises(ConfigurationError, match=message):
        mixed(two, **change)


@pytest.mark.parametrize(
    "text", ["- a\n", "sources: [a]\nsets: {}\n", "a: b: c\n", "sources: {a: 3}\nsets: {t: {}}\n"]
)
def test_a_file_that_is_no_mix_is_one_clear_line(tmp_path, text):
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_mix(tmp_path / "m.yaml")
    assert "\n" not in str(caught.value)


DATA_SETS = {
    "mele-2025": ("asvspoof2019_la", "fake_or_real", "add2022", "in_the_wild"),
    "mile-2025": ("asvspoof2019_la", "fake_or_real", "in_the_wild", "mlaad"),
    "challenge-2025": 9,
    "sharpness-2025": ("asvspoof2019_la",),
}
TESTED = {"mele-2025": 6, "mile-2025": 7, "challenge-2025": 0, "sharpness-2025": 8}


def test_the_papers_data_sets_have_the_sets_of_the_papers():
    mixes = named_mixes()
    assert set(mixes) == set(DATA_SETS)
    for name, mix in mixes.items():
        known = DATA_SETS[name]
        if isinstance(known, int):
            assert len(mix.sources) == known
        else:
            assert tuple(mix.sets["train"].sources) == known
        assert sum(mix.role(part) == "eval" for part in mix.sets) == TESTED[name]


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_named_mix_is_made_from_corpora_as_downloaded(name, tmp_path, capsys):
    mix = named_mixes()[name]
    arguments = []
    for source in mix.roots():
        corpus = mix.sources[source].corpus if source in mix.sources else source
        unpack(corpus, tmp_path / "data" / source)
        arguments += ["--root", f"{source}={tmp_path / 'data' / source}"]
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stopped:
        main(["protocol", "mix", name, "--out", str(out), "--partial", "--json", *arguments])
    assert stopped.value.code == 0
    figures = {row["set"]: row for row in json.loads(capsys.readouterr().out)["sets"]}
    assert "train" in figures
    for part in figures:
        assert len(read_protocol(out / f"{part}.parquet")) == figures[part]["trials"]
    assert json.loads((out / "mix.json").read_text())["mix"] == name


def test_missing_folders_are_all_named_at_once(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["protocol", "mix", "sharpness-2025", "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert "'asvspoof2019_la', 'asvspoof2021_la', 'asvspoof2021_df'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_mix_on_the_page_is_a_mix():
    page = (Path(__file__).parents[2] / "docs/protocols.md").read_text()
    mix = mix_from_dict(yaml.safe_load(page.split("```yaml\n")[1].split("```")[0]))
    assert mix.roots() == ["m_ailabs"]
    assert mix.role("known") == "eval"
