"""No file ends a run: decoders die alone, within limits; only allowed kinds reach them; parts are entered."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recordings import KINDS, encode, speech_like, write_kind
from veravox.audio import Limits, current_limits, open_audio, pool, read_audio, set_limits
from veravox.audio.limits import VARIABLE
from veravox.errors import AudioError, ConfigurationError

HURT = "import os, signal; import veravox.audio.ffmpeg as f; f.FfmpegReader = lambda *a: {}; "


@pytest.fixture
def new_workers():
    """Workers of this test alone."""
    pool.POOL.close()
    yield
    pool.POOL.close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_kind(tmp_path_factory.mktemp("clip"), "mono.mp3", 1.0)


def use_program(monkeypatch, body: str, before: str = "") -> None:
    """Start workers whose decoder does something else."""
    head, tail = pool.PROGRAM.split("from veravox.audio.worker", 1)
    monkeypatch.setattr(pool, "PROGRAM", head + before + HURT.format(body) + "from veravox.audio.worker" + tail)


@pytest.mark.parametrize(
    ("name", "codec", "container", "channels"),
    [("a.m4a", "aac", "ipod", 8), ("a.opus", "libopus", "ogg", 8), ("a.mov", "pcm_s16le", "mov", 7)],
)
def test_seven_channels_and_more_are_heard(tmp_path, name, codec, container, channels):
    path = encode(tmp_path / name, speech_like(1.0, 48000, channels), codec, container, 48000)
    with open_audio(path) as stream:
        assert stream.info.channels == channels
        heard = np.concatenate(list(stream))
    original = speech_like(1.0, 16000)[:, 0]
    count = min(len(heard), len(original))
    assert np.corrcoef(heard[:count], original[:count])[0, 1] > 0.98


@pytest.mark.usefixtures("new_workers")
def test_a_decoder_that_crashes_costs_its_file_alone(clip, monkeypatch):
    with monkeypatch.context() as patch:
        use_program(patch, "os.kill(os.getpid(), signal.SIGSEGV)")
        with pytest.raises(AudioError, match=r"mono\.mp3' makes its decoder crash \(SIGSEGV\)"):
            read_audio(clip)
    assert len(read_audio(clip)) > 15000


@pytest.mark.usefixtures("new_workers")
def test_a_file_that_meets_a_hurt_worker_is_decoded_by_a_new_one(clip):
    whole = read_audio(clip)
    (worker,) = pool.POOL._idle
    worker.process.kill()
    worker.process.wait()
    np.testing.assert_array_equal(read_audio(clip), whole)
    with open_audio(clip, block_s=0.1) as stream:
        first = next(stream)
        stream._reader._worker.process.kill()
        rest = list(stream)
    np.testing.assert_array_equal(np.concatenate([first, *rest]), whole)


@pytest.mark.usefixtures("new_workers")
def test_a_decoder_that_hangs_is_ended(clip, monkeypatch):
    use_program(monkeypatch, "[None for _ in iter(int, 1)]")
    with pytest.raises(
        AudioError, match=r"takes more than 0\.1 s of processor time to decode, the limit decode_s"
    ):
        read_audio(clip, limits=Limits(decode_s=0.1))


@pytest.mark.usefixtures("new_workers")
def test_a_decoder_that_eats_memory_is_stopped(clip, monkeypatch):
    use_program(monkeypatch, "bytearray(1 << 30)")
    with pytest.raises(AudioError, match="takes more than 100 MB of memory to decode, the limit memory_mb"):
        read_audio(clip, limits=Limits(memory_mb=100))


@pytest.mark.parametrize("name", ["long.flac", "long.wav", "mono.mp3"])
def test_more_sound_than_the_limit_is_refused(clip, tmp_path, name):
    if name != "mono.mp3":
        soundfile.write(tmp_path / name, np.zeros(12 * 8000, np.float32), 8000)
    path, limits = (clip if name == "mono.mp3" else tmp_path / name), Limits(sound_s=0.5)
    with pytest.raises(AudioError, match=r"holds more than 0\.5 s of sound, the limit sound_s; raise it"):
        read_audio(path, limits=limits)
    assert len(read_audio(path, max_s=0.4, limits=limits)) == 6400


def test_limits_hold_for_the_process_once_set(clip, monkeypatch):
    monkeypatch.setenv(VARIABLE, "")
    set_limits(Limits.parse("sound_s=0.25, memory_mb=300"))
    assert current_limits() == Limits(sound_s=0.25, memory_mb=300)
    with pytest.raises(AudioError, match="limit sound_s"):
        read_audio(clip)
    for text in ("sound=3", "sound_s=many", "sound_s=0", "decode_s=nan"):
        with pytest.raises(ConfigurationError, match="limit"):
            Limits.parse(text)


def test_a_script_without_a_main_guard_reads_sound(clip):
    script = f"from veravox.audio import read_audio\nprint(len(read_audio({str(clip)!r})) > 15000)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_reader_left_early_leaves_its_worker_usable(tmp_path):
    path = encode(tmp_path / "long.opus", speech_like(12.0, 48000), "libopus", None, 48000)
    whole = read_audio(path)
    for _ in range(3):
        np.testing.assert_allclose(read_audio(path, max_s=0.5), whole[:8000], atol=1e-6)
        with open_audio(path) as stream:
            assert stream.info.codec == "opus"
    with ThreadPoolExecutor(3) as threads:
        for heard in threads.map(read_audio, [path] * 4):
            np.testing.assert_array_equal(heard, whole)


def test_where_no_process_can_be_had_ffmpeg_decodes_here(clip, monkeypatch):
    apart = read_audio(clip)
    monkeypatch.setattr(pool, "separate_processes", lambda: False)
    np.testing.assert_array_equal(read_audio(clip), apart)


LISTS = {
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nother.wav\n#EXT-X-ENDLIST\n",
    "ffconcat": "ffconcat version 1.0\nfile other.wav\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=audio 5004 RTP/AVP 0\n",
    "cue": 'TITLE "x"\nFILE "other.wav" WAVE\n  TRACK 01 AUDIO\n',
    "pls": "[playlist]\nFile1=other.wav\n",
    "mpd": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>\n',
    "asx": "<asx version='3.0'><entry><ref href='other.wav'/></entry></asx>",
    "ram": "rtsp://127.0.0.1/other.rm\n",
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_is_refused_as_a_list(tmp_path, kind):
    path = tmp_path / "list.wav"
    path.write_text(LISTS[kind])
    with pytest.raises(AudioError, match=r"list\.wav' is a list that points to other files"):
        read_audio(path)


def test_kinds_and_codings_outside_the_list_are_refused(tmp_path):
    waveform = speech_like(0.5, 16000)
    for container, codec in (
        ("nut", "pcm_s16le"),
        ("sox", "pcm_s32le"),
        ("avi", "adpcm_ms"),
        ("ircam", "pcm_s16le"),
    ):
        content = encode(tmp_path / "made", waveform, codec, container, 16000).read_bytes()
        if codec == "adpcm_ms":
            assert len(read_audio(content))
            continue
        with pytest.raises(AudioError, match="of a kind that is not allowed"):
            read_audio(content)
    content = encode(tmp_path / "made", waveform, "adpcm_swf", "flv", 22050).read_bytes()
    with pytest.raises(AudioError, match=r"not allowed \(adpcm_swf in flv\)"):
        read_audio(content)


def grown(content: bytes, path: list[bytes], more: int) -> bytes:
    """MP4 boxes of these names, each inside the one before, made longer by some bytes."""
    content, place = bytearray(content), 0
    for name in path:
        place = content.index(name, place) - 4
        size = struct.unpack(">I", content[place : place + 4])[0]
        content[place : place + 4] = struct.pack(">I", size + more)
        place += 8
    return bytes(content)


def test_sound_that_lies_in_another_file_is_refused(tmp_path):
    content = write_kind(tmp_path, "phone.m4a", 0.5).read_bytes()
    address = b"file:///tmp/other.wav\0"
    content = grown(content, [b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref", b"url "], len(address))
    place = content.index(b"url \0\0\0\1")
    content = content[:place] + b"url \0\0\0\0" + address + content[place + 8 :]
    with pytest.raises(AudioError, match=r"keeps its sound in another file \(file:///tmp/other\.wav\)"):
        read_audio(content)


def test_an_address_is_said_not_to_be_opened():
    with pytest.raises(
        AudioError, match=r"https://example\.org/a\.wav' is an address, and addresses are not opened"
    ):
        read_audio("https://example.org/a.wav")


@pytest.mark.parametrize("name", ["mono.mp3", "phone.m4a", "line.flac", "a.wav"])
def test_bytes_and_file_objects_give_what_the_file_gives(tmp_path, name):
    path = tmp_path / name
    if name in KINDS:
        write_kind(tmp_path, name, 0.6)
    else:
        soundfile.write(path, speech_like(0.6, 16000), 16000)
    whole, content = read_audio(path), path.read_bytes()
    for source in (content, bytearray(content), memoryview(content), io.BytesIO(content)):
        np.testing.assert_array_equal(read_audio(source), whole)
    with open(path, "rb") as file:
        np.testing.assert_array_equal(read_audio(file), whole)
    with pytest.raises(AudioError, match=r"'<bytes>' is cut short|cannot be read as audio") as caught:
        read_audio(content[:200])
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("source", [b"", io.BytesIO(b""), io.StringIO("text"), 3, None])
def test_what_holds_no_bytes_says_so(source):
    with pytest.raises(AudioError, match=r"empty|not bytes|a path, bytes or a binary file object"):
        read_audio(source)


@pytest.mark.parametrize(
    ("form", "rate", "channels"),
    [("flac", 16000, 1), ("wav", 16000, 2), ("flac", 44100, 2), ("wav", 8000, 1), ("flac", 22050, 1)],
)
def test_a_part_is_that_part_of_the_whole(tmp_path, form, rate, channels):
    path = tmp_path / f"a.{form}"
    soundfile.write(path, speech_like(21.0, rate, channels) * [[1.0, -0.9][:channels]], rate)
    whole = read_audio(path)
    for start_s, end_s in ((0.3, 0.5), (10.0, 10.001), (19.87, None), (20.5, 99.0)):
        part = read_audio(path, start_s=start_s, end_s=end_s)
        expected = whole[round(start_s * 16000) : None if end_s is None else round(end_s * 16000)]
        np.testing.assert_allclose(part, expected, atol=0 if rate == 16000 else 1e-6)
    np.testing.assert_array_equal(
        read_audio(path, start_s=2.0, max_s=0.5), read_audio(path, start_s=2.0, end_s=2.5)
    )
    with pytest.raises(AudioError, match=r"ends before 21\.500 s"):
        read_audio(path, start_s=21.5)


def test_a_part_of_a_lossy_file_is_decoded_up_to(tmp_path):
    path = write_kind(tmp_path, "stereo.mp3", 3.0)
    np.testing.assert_allclose(read_audio(path, start_s=1.7), read_audio(path)[27200:], atol=1e-6)


@pytest.mark.parametrize(
    "times", [{"start_s": -1.0}, {"end_s": 0.0}, {"start_s": 2.0, "end_s": 1.0}, {"max_s": 0}]
)
def test_times_that_make_no_part_are_refused(clip, times):
    with pytest.raises(AudioError, match=r"cannot read from|give max_s"):
        read_audio(clip, **times)


def test_the_last_second_of_an_hour_of_flac_is_entered_directly(tmp_path):
    minute = np.zeros(60 * 16000, np.float32)
    path = tmp_path / "hour.flac"
    with soundfile.SoundFile(path, "w", 16000, 1) as file:
        for _ in range(59):
            file.write(minute)
        file.write(minute + (last := speech_like(60.0, 16000)[:, 0]))
    best_s = 1.0
    for _ in range(5):
        begin_s = time.perf_counter()
        tail = read_audio(path, start_s=3599.0)
        best_s = min(best_s, time.perf_counter() - begin_s)
    np.testing.assert_allclose(tail, last[-16000:], atol=2**-15)
    assert best_s < 0.05


def test_the_command_line_sets_limits(tmp_path, monkeypatch, capsys):
    from veravox.apps.cli import main

    monkeypatch.setenv(VARIABLE, "")
    soundfile.write(tmp_path / "long.flac", speech_like(3.0, 16000), 16000)
    for arguments, code, message in (
        (["--limit", "sound_s=2"], 1, "holds more than 2 s of sound, the limit sound_s"),
        (["--limit", "sound=2"], 2, "unknown limit 'sound'"),
    ):
        with pytest.raises(SystemExit) as end:
            main(["score", str(tmp_path / "long.flac"), "--model", "mile-slim", "--threads", "1", *arguments])
        assert end.value.code == code
        assert message in capsys.readouterr().err


def test_the_python_of_the_page_on_audio_runs(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs/audio.md").read_text(encoding="utf-8")
    write_kind(tmp_path, "phone.m4a", 1.0).rename(tmp_path / "clip.m4a")
    write_kind(tmp_path, "mono.mp3", 1.0).rename(tmp_path / "hearing.mp3")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(page.split("```python\n")[1].split("```")[0], "docs/audio.md", "exec"), names)
    np.testing.assert_array_equal(names["same"], names["waveform"])
    np.testing.assert_allclose(names["part"], names["waveform"][3200:8000], atol=1e-6)
