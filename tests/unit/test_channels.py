"""A recording whose channels hold different voices is not scored as their mean alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

import veravox
from veravox.apps.cli import main
from veravox.audio import open_audio, read_audio
from veravox.batches import Trial, channels_differ
from veravox.errors import AudioError, ScoringError
from veravox.tables import Scores, protocol_from_paths

RATE = 16000
SPOOF, BONA_FIDE = "u11a46f01f6.flac", "u9521fd2fdf.flac"


@pytest.fixture(scope="module")
def voices(samples):
    """A spoof and a bona fide voice of one length, as `mile-slim` calls them."""
    pair = [read_audio(next(samples.rglob(name))) for name in (SPOOF, BONA_FIDE)]
    return tuple(np.pad(voice, (0, max(map(len, pair)) - len(voice))) for voice in pair)


def written(folder, *channels: np.ndarray, name: str = "call.wav") -> str:
    path = str(folder / name)
    soundfile.write(path, np.stack(channels, axis=1), RATE, subtype="FLOAT")
    return path


def test_one_channel_of_a_recording_is_that_channel(tmp_path, voices):
    path = written(tmp_path, *voices)
    for channel, voice in enumerate(voices):
        with open_audio(path, channel=channel) as stream:
            assert np.array_equal(np.concatenate(list(stream)), voice)
    with pytest.raises(AudioError, match="2 channels, and no channel 3"):
        open_audio(path, channel=2)


def test_channels_differ_only_where_two_hold_sounds_of_their_own(tmp_path, voices):
    spoof, bona_fide = voices
    same = [(spoof, spoof), (spoof, -spoof), (spoof, 0.1 * spoof), (spoof, 0 * spoof)]
    for index, pair in enumerate(same):
        assert not channels_differ(Trial(written(tmp_path, *pair, name=f"{index}.wav")), 2)
    assert channels_differ(Trial(written(tmp_path, spoof, bona_fide)), 2)
    assert channels_differ(Trial(written(tmp_path, 0.1 * spoof, bona_fide)), 2)


@pytest.mark.parametrize("gain", [1.0, 0.1])
def test_a_spoof_on_one_side_keeps_the_whole_from_being_bona_fide(tmp_path, voices, gain):
    spoof, bona_fide = voices
    path = written(tmp_path, bona_fide, gain * spoof)
    detector = veravox.load_detector("mile-slim", "cpu")
    verdicts = []
    scores = veravox.score(detector, protocol_from_paths(path), on_trial=verdicts.append)
    assert scores.frame["verdict"].to_list() == ["uncertain"]
    assert [verdict for _, _, verdict in verdicts[0].channels] == ["bonafide", "spoof"]
    alone = [detector.score_waveform(voice, RATE).score for voice in (bona_fide, spoof)]
    assert [score for _, score, _ in verdicts[0].channels] == pytest.approx(alone, abs=0.05)
    assert "channel 2 spoof" in scores.frame["warnings"][0]
    assert "2 spoof" in scores.frame["channels"][0]
    mixed = veravox.score(detector, protocol_from_paths(path), channels="mix")
    assert (mixed.frame["channels"][0], mixed.frame["score"][0]) == (None, scores.frame["score"][0])
    with pytest.raises(ScoringError, match="auto, mix or each"):
        veravox.score(detector, protocol_from_paths(path), channels="left")


def test_every_form_of_output_names_the_channels(tmp_path, voices, capsys):
    path = written(tmp_path, *voices)

    def scored(*options: str) -> None:
        with pytest.raises(SystemExit, match="0"):
            main(["score", path, "--model", "mile-slim", "-q", *options])

    scored("--json")
    channels = json.loads(capsys.readouterr().out)["channels"]
    assert [(number, verdict) for number, _, verdict in channels] == [(1, "spoof"), (2, "bonafide")]
    scored()
    assert "channel 2" in capsys.readouterr().out
    columns = []
    for suffix in (".csv", ".parquet", ".jsonl"):
        scored("--out", str(tmp_path / f"scores{suffix}"))
        columns.append(Scores.read(tmp_path / f"scores{suffix}").frame["channels"].to_list())
    assert columns[0] == columns[1] == columns[2]
    assert columns[0][0].startswith("1 spoof -")


def test_equal_channels_are_scored_as_one_and_each_names_them_all_the_same(tmp_path, voices):
    spoof, _ = voices
    detector = veravox.load_detector("mile-slim", "cpu")
    path = written(tmp_path, spoof, spoof)
    by_default, each = (
        veravox.score(detector, protocol_from_paths(path), channels=channels).frame
        for channels in ("auto", "each")
    )
    assert by_default["channels"].to_list() == [None]
    assert each["channels"][0].count("spoof") == 2
    assert by_default["verdict"].to_list() == each["verdict"].to_list() == ["spoof"]


def test_a_recording_as_bytes_or_file_object_scores_as_from_its_path(samples):
    detector = veravox.load_detector("mile-slim", "cpu")
    path = next(samples.rglob(SPOOF))
    expected = veravox.score(detector, protocol_from_paths(path)).frame["score"][0]
    assert detector.score_waveform(path.read_bytes()).score == expected
    with path.open("rb") as file:
        assert detector.score_waveform(file).score == expected
    with pytest.raises(AudioError):
        detector.score_waveform(b"no sound")
