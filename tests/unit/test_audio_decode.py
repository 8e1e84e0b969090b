"""Every kind of recording is heard whole, streamed as read, and refused with one line when it cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings, strategies as st

from recordings import KINDS, encode, speech_like, write_kind
from veravox.audio import open_audio, read_audio, resample, to_mono
from veravox.audio.ffmpeg import FfmpegReader
from veravox.audio.level import frame_powers
from veravox.errors import AudioError

SUBTYPES = ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"]


def best_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Cosine of two signals at the best lag within 100 ms."""
    count = min(len(one), len(other)) - 1600
    middle = one[800 : 800 + count]
    return max(
        float(
            middle @ other[lag : lag + count] / np.linalg.norm(middle) / np.linalg.norm(other[lag : lag + count])
        )
        for lag in range(min(1600, len(other) - count))
    )


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    return {name: write_kind(folder, name) for name in KINDS}


@pytest.fixture(scope="module")
def whole_wav(tmp_path_factory):
    path = tmp_path_factory.mktemp("wav") / "stereo.wav"
    soundfile.write(path, speech_like(3.3, 44100, 2), 44100)
    return path


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_gives_the_sound_that_went_in(kinds, name):
    heard = read_audio(kinds[name])
    original = speech_like(2.0, 16000)[:, 0]
    assert heard.dtype == np.float32
    assert heard.ndim == 1
    assert abs(len(heard) - len(original)) < 16000 * 0.12  # lossy encoders pad their last packet
    if "mobile" in name:  # AMR keeps the sound, not the waveform
        original, heard = (np.sqrt(frame_powers(part, 640)) for part in (original, heard))
        assert np.corrcoef(original, heard[: len(original)])[0, 1] > 0.9
    else:
        assert best_correlation(original, heard) > 0.95


@pytest.mark.parametrize("name", KINDS)
def test_the_info_is_that_of_the_file(kinds, name):
    codec, _, rate, channels = KINDS[name]
    with open_audio(kinds[name]) as stream:
        assert (stream.info.sample_rate_hz, stream.info.channels) == (rate, channels)
        assert stream.info.codec.replace("_nb", "nb") in codec
        if stream.info.duration_s is not None:
            assert stream.info.duration_s == pytest.approx(2.0, abs=0.12)


@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize("rate", [8000, 11025, 192000])
def test_every_wav_coding_and_rate_keeps_length_and_sound(tmp_path, subtype, rate):
    soundfile.write(tmp_path / "a.wav", speech_like(0.7, rate), rate, subtype=subtype)
    heard = read_audio(tmp_path / "a.wav")
    original = resample(speech_like(0.7, rate)[:, 0], rate, 16000)
    assert abs(len(heard) - round(round(0.7 * rate) * 16000 / rate)) <= 1
    assert np.abs(heard - original).max() < (0.02 if subtype in ("PCM_U8", "ULAW", "ALAW") else 1e-4)


@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize("form", ["WAV", "WAVEX", "RF64", "W64", "RIFX"])
def test_uncompressed_wav_holds_the_samples_that_libsndfile_finds(tmp_path, form, subtype):
    endian = "BIG" if form == "RIFX" else None
    waveform = np.random.default_rng(1).uniform(-1, 1, (501, 3))
    path = tmp_path / "a.wav"
    soundfile.write(path, waveform, 22050, subtype, endian, "WAV" if form == "RIFX" else form)
    native = soundfile.read(path, dtype="float32")[0]
    np.testing.assert_array_equal(read_audio(path, 22050), to_mono(native))


@pytest.mark.parametrize("suffix", ["flac", "aiff", "au", "caf", "ogg"])
def test_both_libraries_decode_the_same_samples(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, speech_like(1.0, 22050, 2), 22050)
    by_sndfile = soundfile.read(path, dtype="float32")[0]
    with open(path, "rb", buffering=0) as file:
        by_ffmpeg = np.concatenate(list(FfmpegReader(file, os.fstat(file.fileno()).st_size).blocks()))
    count = len(by_ffmpeg)
    assert len(by_sndfile) - count <= (512 if suffix == "ogg" else 0)
    np.testing.assert_allclose(by_sndfile[:count], by_ffmpeg, atol=1e-6 if suffix == "ogg" else 0)


def test_a_video_gives_its_audio_track(tmp_path):
    for name, container in (("film.mp4", "mp4"), ("film.mkv", "matroska")):
        path = encode(tmp_path / name, speech_like(2.0, 44100, 2), "aac", container, 44100, video=True)
        assert best_correlation(speech_like(2.0, 16000)[:, 0], read_audio(path)) > 0.95


def test_a_film_without_sound_says_that_it_has_no_audio_track(tmp_path):
    with av.open(str(tmp_path / "mute.mp4"), "w") as out:
        pictures = out.add_stream("mpeg4", rate=10, width=64, height=64, pix_fmt="yuv420p")
        for _ in range(5):
            out.mux(pictures.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        out.mux(pictures.encode(None))
    with pytest.raises(AudioError, match=r"mute\.mp4.*no audio track, only video"):
        read_audio(tmp_path / "mute.mp4")


def test_eight_channels_at_192_khz_become_one_at_16(tmp_path):
    soundfile.write(tmp_path / "array.wav", speech_like(1.0, 192000, 8), 192000, subtype="PCM_24")
    heard = read_audio(tmp_path / "array.wav")
    assert len(heard) == 16000
    assert best_correlation(speech_like(1.0, 16000)[:, 0], heard) > 0.99


@settings(max_examples=25, deadline=None)
@given(block_s=st.floats(0.001, 5.0), rate=st.sampled_from([8000, 16000, 44100]))
def test_blocks_joined_are_the_whole_for_every_block_size(whole_wav, block_s, rate):
    whole = read_audio(whole_wav, rate)
    with open_audio(whole_wav, rate, block_s) as stream:
        blocks = list(stream)
    assert {len(block) for block in blocks[:-1]} <= {max(1, round(block_s * rate))}
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_the_stream_is_the_plain_resampling_of_the_mean(whole_wav):
    native, rate = soundfile.read(whole_wav, dtype="float32")
    expected = resample(native.mean(axis=1), rate, 16000)
    heard = read_audio(whole_wav)
    assert len(heard) == len(expected) == round(len(native) * 16000 / rate)
    np.testing.assert_allclose(heard, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["line.flac", "stereo.mp3", "browser.webm", "phone.m4a"])
def test_the_first_seconds_are_the_beginning_of_the_whole(kinds, name):
    np.testing.assert_allclose(read_audio(kinds[name], max_s=0.5), read_audio(kinds[name])[:8000], atol=1e-6)


def test_channels_in_opposite_phase_do_not_vanish(tmp_path):
    voice = speech_like(12.0, 16000)[:, 0]
    soundfile.write(tmp_path / "a.wav", np.stack([voice, -0.9 * voice], axis=1), 16000, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav"), voice)
    np.testing.assert_array_equal(to_mono(np.stack([-0.9 * voice, voice], axis=1)), voice)


def test_a_speaker_heard_late_and_on_one_channel_is_not_lost(tmp_path):
    voice = speech_like(30.0, 8000)[:, 0]
    left, right = voice * (np.arange(len(voice)) < 120_000), voice * (np.arange(len(voice)) >= 120_000)
    soundfile.write(tmp_path / "call.wav", np.stack([left, right], axis=1), 8000, subtype="FLOAT")
    heard = read_audio(tmp_path / "call.wav", 8000)
    np.testing.assert_allclose(heard, 0.5 * voice, atol=1e-7)


def test_the_choice_of_channels_does_not_flip_on_the_way(tmp_path):
    voice = speech_like(25.0, 16000)[:, 0]
    late_flip = np.where(np.arange(len(voice)) < 200_000, 1.0, -1.0).astype(np.float32) * voice
    stereo = np.stack([voice, -late_flip], axis=1)
    silence = np.zeros((16000, 2), np.float32)
    soundfile.write(tmp_path / "a.wav", np.concatenate([silence, stereo]), 16000, subtype="FLOAT")
    heard = read_audio(tmp_path / "a.wav")
    np.testing.assert_array_equal(heard[16000:], voice)
    assert not heard[:16000].any()


def flac_bytes(tmp_path: Path) -> bytes:
    soundfile.write(tmp_path / "whole.flac", speech_like(3.0, 16000), 16000)
    return (tmp_path / "whole.flac").read_bytes()


def test_a_flac_cut_short_says_how_much_could_be_read(tmp_path):
    content = flac_bytes(tmp_path)
    (tmp_path / "cut.flac").write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError, match=r"cut\.flac' is cut short or damaged: [12]\.\d\d s of 3\.00 s could"):
        read_audio(tmp_path / "cut.flac")


def test_a_wav_that_promises_more_than_it_holds_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", speech_like(3.0, 16000), 16000)
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content[:-10])
    with pytest.raises(AudioError, match=r"3\.00 s of 3\.00 s could be read"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000])
def test_a_wav_of_unknown_length_is_read_to_its_end(tmp_path, size):
    soundfile.write(tmp_path / "a.wav", speech_like(1.0, 16000), 16000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[40:44] = size.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    assert len(read_audio(tmp_path / "a.wav")) == 16000


CUT_KINDS = ["stereo.mp3", "phone.m4a", "browser.webm", "lossless.mka", "old.wma", "mobile.3gp", "line.flac"]


@pytest.mark.parametrize("name", [*CUT_KINDS, "a.wav", "a.aiff", "a.caf", "a.w64"])
def test_no_cut_gives_a_short_read_without_an_error(kinds, tmp_path, name):
    if name.startswith("a."):
        soundfile.write(tmp_path / name, speech_like(2.0, 16000), 16000)
        content = (tmp_path / name).read_bytes()
    else:
        content = kinds[name].read_bytes()
    (tmp_path / "whole").write_bytes(content)
    whole_s = len(read_audio(tmp_path / "whole")) / 16000
    rng = np.random.default_rng(5)
    for cut in [1, 3, 12, 50, len(content) - 1, *rng.integers(1, len(content), 12)]:
        path = tmp_path / "cut"
        path.write_bytes(content[:cut])
        try:
            heard_s = len(read_audio(path)) / 16000
        except AudioError:
            continue
        assert whole_s - heard_s < 0.25, f"{name} cut at {cut} of {len(content)} bytes"


@pytest.mark.parametrize("name", ["raw.aac", "mobile.amr", "note.opus"])
def test_a_cut_inside_a_packet_of_a_format_without_a_length_is_noticed(kinds, tmp_path, name):
    content = kinds[name].read_bytes()
    (tmp_path / "cut").write_bytes(content[: int(len(content) * 0.7) + 7])
    with pytest.raises(AudioError, match="s could be read"):
        read_audio(tmp_path / "cut")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(sorted(KINDS)),
    spots=st.lists(st.tuples(st.floats(0, 0.9999), st.integers(0, 255)), min_size=1, max_size=12),
)
def test_damage_anywhere_gives_sound_or_one_line(kinds, tmp_path, name, spots):
    content = bytearray(kinds[name].read_bytes())
    for place, value in spots:
        content[int(place * len(content))] = value
    path = tmp_path / "damaged"
    path.write_bytes(content)
    try:
        heard = read_audio(path)
    except AudioError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert np.isfinite(heard).all()
        assert len(heard)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=400), head=st.sampled_from([b"", b"RIFF", b"fLaC", b"OggS", b"ID3", b"#!AMR\n"]))
def test_bytes_that_are_no_recording_are_refused(tmp_path, head, content):
    (tmp_path / "a.wav").write_bytes(head + content)
    try:
        assert np.isfinite(read_audio(tmp_path / "a.wav")).all()
    except AudioError as error:
        assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize("reads_before", [0, 1, 2])
def test_where_libsndfile_gives_up_ffmpeg_goes_on(tmp_path, monkeypatch, reads_before):
    waveform = speech_like(15.0, 16000)[:, 0]
    soundfile.write(tmp_path / "a.flac", waveform, 16000)
    whole = read_audio(tmp_path / "a.flac")
    real, reads = soundfile.SoundFile.read, []

    def gives_up(self, *args, **options):
        reads.append(None)
        if len(reads) > reads_before:
            raise soundfile.LibsndfileError(0)
        return real(self, *args, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", gives_up)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.flac"), whole)


@pytest.mark.parametrize("rate", [1, 2_000_000_000])
def test_an_impossible_rate_is_refused(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", np.zeros(1000), rate)
    with pytest.raises(AudioError, match="impossible rate"):
        read_audio(tmp_path / "a.wav")


def test_a_page_lost_in_the_middle_of_an_ogg_file_is_noticed(tmp_path):
    path = encode(tmp_path / "long.opus", speech_like(6.0, 48000), "libopus", None, 48000)
    assert len(read_audio(path)) == pytest.approx(96000, abs=400)
    content = path.read_bytes()
    pages = [place for place in range(len(content)) if content[place : place + 5] == b"OggS\0"]
    path.write_bytes(content[: pages[3]] + content[pages[4] :])
    with pytest.raises(AudioError, match=r"long\.opus' is cut short or damaged"):
        read_audio(path)


def test_samples_that_are_no_numbers_are_counted_and_placed(tmp_path):
    waveform = speech_like(2.0, 16000)[:, 0]
    waveform[[24000, 24005, 31000]] = [np.nan, np.inf, -np.inf]
    soundfile.write(tmp_path / "nan.wav", waveform, 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"nan\.wav' holds 3 samples .* first at 1\.500 s"):
        read_audio(tmp_path / "nan.wav")


def test_text_named_wav_names_the_cause(tmp_path):
    (tmp_path / "notes.wav").write_text("call me back\n" * 50)
    with pytest.raises(AudioError, match=r"notes\.wav' cannot be read as audio \(FFmpeg: "):
        read_audio(tmp_path / "notes.wav")


def test_a_playlist_opens_no_other_file(kinds, tmp_path):
    for text in (
        "ffconcat version 1.0\nfile {}\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n",
    ):
        list_file = tmp_path / "list.wav"
        list_file.write_text(text.format(kinds["raw.aac"]))
        with pytest.raises(AudioError, match=r"list\.wav"):
            read_audio(list_file)


def test_what_is_no_readable_file_says_why(tmp_path):
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "none.wav", np.zeros(0, np.float32), 16000)
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    for name, cause in {
        "absent.wav": "does not exist",
        "empty.wav": "empty",
        ".": "is a folder",
        "none.wav": "not a single sample",
        "loop.wav": "leads to itself",
        "pipe.wav": "not a regular file",
        "nul\0.wav": "cannot be opened",
    }.items():
        with pytest.raises(AudioError, match=cause):
            read_audio(os.path.join(tmp_path, name))


def test_a_file_without_permission_says_so(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "mine.wav", np.zeros(100), 16000)

    def refuse(*_, **__):  # as the system does, also where the tests run as root
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(AudioError, match=r"mine\.wav' may not be read: no permission"):
        read_audio(tmp_path / "mine.wav")


@pytest.mark.parametrize(
    "name", [b"two words.wav", b"new\nline.wav", b"caf\xe9.wav", b"-", b"x.raw", "ж.wav".encode()]
)
def test_any_name_is_opened_by_both_libraries(kinds, tmp_path, name):
    path = os.fsdecode(os.path.join(os.fsencode(tmp_path), name))
    soundfile.write(str(tmp_path / "plain.wav"), speech_like(0.5, 16000), 16000)
    for source in (tmp_path / "plain.wav", kinds["phone.m4a"]):
        with open(path, "wb") as file:
            file.write(source.read_bytes())
        assert len(read_audio(path)) >= 8000
        with open(path, "wb") as file:
            file.write(b"no sound")
        with pytest.raises(AudioError) as caught:
            read_audio(path)
        assert "\n" not in str(caught.value)
        str(caught.value).encode()


def test_one_sample_and_a_tenth_of_a_second_are_read(tmp_path):
    for samples in (1, 1600):
        soundfile.write(tmp_path / "short.wav", np.full(samples, 0.5), 16000)
        assert len(read_audio(tmp_path / "short.wav")) == samples
    soundfile.write(tmp_path / "short.wav", np.full(1, 0.5), 192000)
    with pytest.raises(AudioError, match="too short"):
        read_audio(tmp_path / "short.wav")


def test_threads_decode_what_one_thread_decodes(kinds):
    paths = [kinds[name] for name in ("stereo.mp3", "line.flac", "phone.m4a", "browser.webm")] * 3
    with ThreadPoolExecutor(4) as pool:
        for path, heard in zip(paths, pool.map(read_audio, paths), strict=True):
            np.testing.assert_array_equal(heard, read_audio(path))


def test_the_libraries_write_nothing_to_the_error_stream(kinds, tmp_path):
    content = kinds["stereo.mp3"].read_bytes()
    (tmp_path / "cut.mp3").write_bytes(content[: len(content) // 2])
    (tmp_path / "odd.mp3").write_bytes(content[:3000] + bytes(200) + content[3000:])
    program = (
        "import sys\nfrom veravox.audio import read_audio\nfrom veravox.errors import AudioError\n"
        "for path in sys.argv[1:]:\n    try: read_audio(path)\n    except AudioError: pass\n"
    )
    paths = [str(tmp_path / "cut.mp3"), str(tmp_path / "odd.mp3"), str(kinds["phone.m4a"])]
    done = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True)
    assert done.stderr == done.stdout == ""


@pytest.mark.parametrize("suffix", ["flac", "mka"])
def test_an_hour_streams_in_little_memory(tmp_path, suffix):
    path, rate = tmp_path / f"hour.{suffix}", 8000
    hour = np.tile(speech_like(10.0, rate, 2), (360, 1))
    if suffix == "flac":
        soundfile.write(path, hour, rate)
    else:
        encode(path, hour, "pcm_s16le", "matroska", rate)
    del hour
    tracemalloc.start()
    try:
        with open_audio(path) as stream:
            assert sum(map(len, stream)) == 3600 * 16000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12e6  # the hour itself would be 230 MB
