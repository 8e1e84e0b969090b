"""Whatever a person hands in: a clear line for what cannot be judged, whole results for all the rest."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

from recordings import encode, speech_like
from tiny import tiny_checkpoint
from veravox.apps.cli import main
from veravox.evaluation import FittedCalibration
from veravox.models import write_checkpoint
from veravox.tables import Calibration

RATE = 16000


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.set_num_threads(1)
    return write_checkpoint(tiny_checkpoint(), tmp_path_factory.mktemp("model"))


@pytest.fixture
def score(model, capsys):
    """Run `veravox score`; gives exit code, JSON rows by path, and stderr."""

    def run(*arguments, code=0):
        with pytest.raises(SystemExit) as end:
            main(["score", "--json", "--model", str(model), "-q", *map(str, arguments)])
        captured = capsys.readouterr()
        assert end.value.code == code, captured.err
        rows = [json.loads(line) for line in captured.out.splitlines()]
        return {row["path"]: row for row in rows}, captured.err

    return run


def good(folder: Path) -> Path:
    soundfile.write(folder / "good.wav", speech_like(1.2, RATE), RATE)
    return folder / "good.wav"


def write(folder, name, waveform, rate=RATE, **options):
    soundfile.write(folder / name, waveform, rate, **options)
    return folder / name


def empty_file(folder):
    (folder / "empty.wav").touch()
    return folder / "empty.wav"


def renamed_text(folder):
    (folder / "text.wav").write_text("Dear Sir or Madam,\n" * 40)
    return folder / "text.wav"


def truncated_flac(folder):
    path = write(folder, "cut.flac", speech_like(3.0, RATE))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def nan_samples(folder):
    waveform = speech_like(1.0, RATE)[:, 0]
    waveform[500:510] = np.nan
    return write(folder, "nan.wav", waveform, subtype="FLOAT")


def picture_only(folder):
    import av

    path = folder / "silent.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=10, width=64, height=64, pix_fmt="yuv420p")
        for _ in range(5):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        out.mux(stream.encode(None))
    return path


def missing(folder):
    return folder / "nowhere.wav"


BROKEN = {
    empty_file: "empty",
    renamed_text: "text.wav",
    truncated_flac: "cut short or damaged",
    nan_samples: "10",
    picture_only: "audio",
    missing: "nowhere.wav",
}


@pytest.mark.parametrize("make", BROKEN, ids=lambda make: make.__name__)
def test_a_file_that_cannot_be_heard_gets_its_line_and_the_others_their_scores(tmp_path, score, make):
    path, whole = make(tmp_path), good(tmp_path)
    rows, complaints = score(path, whole, code=1)
    assert rows[str(path)]["score"] is None
    assert rows[str(path)]["verdict"] is None
    assert BROKEN[make] in rows[str(path)]["error"]
    assert path.name in complaints
    assert "Traceback" not in complaints
    assert len(complaints.splitlines()) == 1
    assert rows[str(whole)]["error"] is None
    assert isinstance(rows[str(whole)]["score"], float)


def test_a_file_without_permission_is_named(tmp_path, score, monkeypatch):
    path, whole = write(tmp_path, "locked.wav", speech_like(1.0, RATE)), good(tmp_path)
    path.chmod(0)
    if os.access(path, os.R_OK):  # root may read everything: refuse it at the system call instead
        real_open, real_os_open = open, os.open

        def refuse(opener):
            def opened(file, *rest, **named):
                if os.fspath(file) == str(path) if not isinstance(file, int) else False:
                    raise PermissionError(13, "Permission denied", str(path))
                return opener(file, *rest, **named)

            return opened

        monkeypatch.setattr("builtins.open", refuse(real_open))
        monkeypatch.setattr("os.open", refuse(real_os_open))
    rows, complaints = score(path, whole, code=1)
    assert "locked.wav" in complaints
    assert "ermission" in complaints
    assert rows[str(whole)]["error"] is None


ODD_BUT_AUDIBLE = {
    "tenth.wav": (speech_like(0.1, RATE), RATE, "speech-like"),
    "silence.wav": (np.zeros(RATE, np.float32), RATE, "digital silence"),
    "clipped.wav": (np.clip(speech_like(2.0, RATE) * 60, -1, 1), RATE, "clipped"),
    "offset.wav": (speech_like(2.0, RATE) * 0.3 + 0.4, RATE, "DC offset"),
}


@pytest.mark.parametrize("name", ODD_BUT_AUDIBLE)
def test_an_odd_recording_is_scored_but_uncertain_and_says_why(tmp_path, capsys, name):
    waveform, rate, reason = ODD_BUT_AUDIBLE[name]
    checkpoint = tiny_checkpoint()
    checkpoint.limits = {"max_clipped_share": 0.01, "max_dc_offset": 0.05}
    path = write(tmp_path, name, waveform, rate)
    with pytest.raises(SystemExit) as end:
        main(["score", "--json", "-q", "--model", str(write_checkpoint(checkpoint, tmp_path / "m")), str(path)])
    row = json.loads(capsys.readouterr().out)
    assert end.value.code == 0
    assert row["verdict"] == "uncertain"
    assert any(reason in warning for warning in row["warnings"])
    assert np.isfinite(row["score"])


def test_eight_channels_at_192_khz_score_like_the_same_voice_at_16(tmp_path, score):
    wide = write(tmp_path, "wide.wav", speech_like(1.5, 192_000, channels=8), 192_000)
    rows, _ = score(wide)
    assert rows[str(wide)]["duration_s"] == pytest.approx(1.5, abs=0.01)


@pytest.mark.parametrize("name", ["a.mp3", "a.m4a", "a.opus", "a.webm", "a.amr", "a.wma", "a.mp4"])
def test_every_kind_of_recording_is_scored(tmp_path, score, name):
    kinds = {
        "a.mp3": ("libmp3lame", None, 44100),
        "a.m4a": ("aac", None, 44100),
        "a.opus": ("libopus", None, 48000),
        "a.webm": ("libopus", "webm", 48000),
        "a.amr": ("libopencore_amrnb", None, 8000),
        "a.wma": ("wmav2", "asf", 44100),
        "a.mp4": ("aac", None, 44100),
    }
    codec, container, rate = kinds[name]
    path = encode(tmp_path / name, speech_like(1.5, rate), codec, container, rate, video=name == "a.mp4")
    rows, _ = score(path)
    assert rows[str(path)]["duration_s"] == pytest.approx(1.5, abs=0.1)


@pytest.mark.parametrize(("name", "subtype"), [("a.ogg", "VORBIS"), ("a.wav", "ULAW"), ("a.flac", "PCM_24")])
def test_what_libsndfile_writes_is_scored(tmp_path, score, name, subtype):
    path = write(tmp_path, name, speech_like(1.5, 44100), 44100, subtype=subtype)
    rows, _ = score(path)
    assert rows[str(path)]["duration_s"] == pytest.approx(1.5, abs=0.1)


def test_odd_names_come_back_as_they_were_given(tmp_path, score):
    names = [b"two words.wav", b"new\nline.wav", b"caf\xe9.wav", b"-dash.wav", "ünï.wav".encode()]
    for name in names:
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            soundfile.write(file, speech_like(0.7, RATE), RATE, format="WAV")
    rows, _ = score(tmp_path)
    shown = {Path(path).name for path in rows}
    assert shown == {"two words.wav", "new\nline.wav", "caf\\xe9.wav", "-dash.wav", "ünï.wav"}
    assert all(row["error"] is None for row in rows.values())


def test_a_folder_with_a_link_to_itself_is_walked_once(tmp_path, score):
    good(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "again.wav").symlink_to(tmp_path / "good.wav")
    rows, _ = score(tmp_path)
    assert len(rows) == 1


def test_a_file_given_twice_is_scored_once(tmp_path, score):
    path = good(tmp_path)
    rows, _ = score(path, path, tmp_path)
    assert list(rows) == [str(path)]


def refused(capsys, *arguments):
    """Run a command that must be refused; gives its one line."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert end.value.code == 2
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_a_folder_without_audio_is_refused(tmp_path, model, capsys):
    (tmp_path / "notes.txt").write_text("no audio here")
    assert str(tmp_path) in refused(capsys, "score", tmp_path, "--model", model)


PROTOCOLS = {
    "utterance_id,path\na,x.wav\na,y.wav\n": "given more than once: 'a'",
    "utterance_id,path,label\na,x.wav,humane\n": "unknown labels 'humane'",
    "path,label\nx.wav,spoof\n": "column 'utterance_id' is missing",
    "utterance_id,label\na,spoof\n": "column 'path' is missing",
}


@pytest.mark.parametrize("text", PROTOCOLS)
def test_a_wrong_protocol_is_refused_with_its_reason(tmp_path, model, capsys, text):
    (tmp_path / "p.csv").write_text(text)
    assert PROTOCOLS[text] in refused(capsys, "score", tmp_path / "p.csv", "--model", model)


def test_a_damaged_checkpoint_is_refused(tmp_path, model, capsys):
    (tmp_path / "cut.safetensors").write_bytes(model.read_bytes()[:-100])
    assert "cut short" in refused(capsys, "score", good(tmp_path), "--model", tmp_path / "cut.safetensors")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--resume"], "need --out"),
        (["--shard", "3/2", "--out", "x.csv"], "1 <= I <= N"),
        (["--policy", "slidign"], "did you mean 'sliding'"),
        (["--prior", "1.5"], "between 0 and 1"),
        (["--device", "gpu9"], "device 'gpu9'"),
        (["--model", "mile-slm"], "no detector 'mile-slm'"),
        (["--out", "scores.xlsx"], "ending must be one of"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(tmp_path, model, capsys, arguments, reason):
    chosen = [] if "--model" in arguments else ["--model", model]
    assert reason in refused(capsys, "score", good(tmp_path), *chosen, *arguments)


def test_no_space_left_leaves_no_file_and_the_finished_blocks(tmp_path, model, capsys, monkeypatch):
    path = good(tmp_path)

    really = pl.DataFrame.write_csv

    def full(frame, file=None, **options):
        if file is None:
            return really(frame, **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_csv", full, raising=True)
    with pytest.raises(SystemExit) as end:
        main(["score", str(path), "-q", "--model", str(model), "--out", str(tmp_path / "s.csv")])
    assert end.value.code == 2
    assert "no space is left on the device" in capsys.readouterr().err
    assert not (tmp_path / "s.csv").exists()


def test_a_disk_that_is_really_full_is_named():
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    code = "import sys; from veravox.files import _reason; f = open('/dev/full', 'w'); f.write('x' * 10)\n"
    code += (
        "try:\n    f.flush()\nexcept OSError as e:\n    print(_reason(e), flush=True)\n    import os; os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment()
    )
    assert "no space is left" in done.stdout


def test_the_list_on_stdin_may_be_separated_by_null_bytes(tmp_path, model):
    names = [tmp_path / "a b.wav", tmp_path / "new\nline.wav"]
    for name in names:
        soundfile.write(name, speech_like(0.7, RATE), RATE)
    command = [sys.executable, "-m", "veravox", "score", "-", "-0", "--json", "-q", "--model", str(model)]
    done = subprocess.run(
        command, input="\0".join(map(str, names)).encode(), capture_output=True, check=True, env=_environment()
    )
    assert [json.loads(line)["path"] for line in done.stdout.splitlines()] == [str(name) for name in names]


def _environment():
    source = str(Path(__file__).parents[2] / "src")
    return {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}


def test_a_list_made_on_windows_names_the_same_files(tmp_path, score, monkeypatch):
    listed = io.TextIOWrapper(io.BytesIO(f"{good(tmp_path)}\r\n\r\n".encode()))
    monkeypatch.setattr(sys, "stdin", listed)
    rows, _ = score("-")
    assert list(rows) == [str(tmp_path / "good.wav")]


def test_a_calibration_fitted_on_calibrated_scores_gives_the_same_scores_from_sound(tmp_path, score):
    names = [write(tmp_path, f"{i}.wav", speech_like(0.8 + i / 10, RATE, seed=i)) for i in range(3)]
    rows, _ = score(*names)
    before = [row["score"] for row in rows.values()]
    fitted = FittedCalibration(Calibration(3.0, 1.0), fitted_on_llr=True)
    fitted.write(tmp_path / "calibration.json")
    rows, _ = score(*names, "--calibration", tmp_path / "calibration.json")
    assert [row["score"] for row in rows.values()] == pytest.approx([3.0 * value + 1.0 for value in before])


def test_a_table_is_plain_text_and_windows_can_be_asked_for(tmp_path, model, capsys):
    path = good(tmp_path)
    with pytest.raises(SystemExit):
        main(["score", str(path), "--windows", "--model", str(model)])
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0].split() == ["file", "verdict", "score", "mel", "linear"]
    assert "0.00-0.50 s" in captured.out
    assert "\x1b" not in captured.out
    assert "1 files: " in captured.err
