"""A part is never read as the whole where the file can know, and whole files of odd writers are read whole."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from recordings import encode, speech_like
from veravox.audio import read_audio
from veravox.audio.containers import ASF_FILE_PROPERTIES
from veravox.audio.ogg import checksum
from veravox.errors import AudioError

RATE = 16000


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    return speech_like(0.9, RATE)


def written(waveform: np.ndarray, form: str, **options) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, RATE, format=form, **options)
    return file.getvalue()


def encoded(folder: Path, codec: str, container: str, seconds: float = 0.9, rate: int = RATE) -> bytes:
    return encode(folder / "made", speech_like(seconds, rate), codec, container, rate).read_bytes()


def resized(wav: bytes, data_bytes: int) -> bytes:
    """A plain WAV whose data chunk states another length."""
    return wav[:40] + struct.pack("<I", data_bytes) + wav[44:]


def test_sound_in_two_data_chunks_is_heard_whole(voice):
    wav = written(voice, "WAV")
    first, second = wav[44:8044], wav[8044:]
    both = wav[:36] + b"data" + struct.pack("<I", len(first)) + first
    both += b"LIST\4\0\0\0INFOdata" + struct.pack("<I", len(second)) + second
    np.testing.assert_array_equal(read_audio(both), read_audio(wav))


def test_sound_that_no_chunk_accounts_for_is_an_error(voice):
    wav = written(voice, "WAV")
    with pytest.raises(
        AudioError, match=r"holds 14400 bytes from byte 14444 on that its header does not account for"
    ):
        read_audio(resized(wav, len(wav[44:]) // 2))


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_a_second_recording_behind_the_first_is_named(voice, form):
    first, second = written(voice, form), written(speech_like(1.2, RATE, seed=2), form)
    with pytest.raises(AudioError, match=f"second recording .* begins at byte {len(first)} and"):
        read_audio(first + second)


def test_a_second_film_behind_the_first_is_named(tmp_path):
    content = encoded(tmp_path, "aac", "ipod")
    with pytest.raises(AudioError, match=f"second recording, which begins at byte {len(content)} and"):
        read_audio(content + content)


@pytest.mark.parametrize(
    ("codec", "container"),
    [("pcm_s16le", "avi"), ("pcm_u8", "voc"), ("libmp3lame", "flv"), ("wmav2", "asf"), ("wavpack", "wv")],
)
def test_half_a_file_is_cut_short(tmp_path, codec, container):
    content = encoded(tmp_path, codec, container, rate=22050 if container == "flv" else RATE)
    assert len(read_audio(content)) == pytest.approx(0.9 * RATE, abs=0.08 * RATE)
    with pytest.raises(AudioError, match=r"cut short|no sound that can be decoded"):
        read_audio(content[: len(content) // 2])


@pytest.mark.parametrize(("codec", "container"), [("ac3", "ac3"), ("mp2", "mp2"), ("libmp3lame", "mp3")])
def test_a_cut_within_a_frame_is_noticed_where_no_length_is_stated(tmp_path, codec, container):
    content = encode(
        tmp_path / "made", speech_like(0.9, 48000), codec, container, 48000, options={"write_xing": "0"}
    ).read_bytes()
    read_audio(content)
    with pytest.raises(AudioError, match="cut short"):
        read_audio(content[: int(len(content) * 0.6) + 5])


def pages_of(ogg: bytes) -> list[int]:
    return [place for place in range(len(ogg)) if ogg[place : place + 5] == b"OggS\0"]


def test_an_ogg_cut_between_two_pages_lacks_its_end(tmp_path):
    content = encoded(tmp_path, "libopus", "ogg", 5.0, 48000)
    read_audio(content)
    with pytest.raises(AudioError, match="the last Ogg page does not end the recording"):
        read_audio(content[: pages_of(content)[-1]])


def test_a_flipped_bit_in_an_ogg_page_is_placed(tmp_path):
    content = bytearray(encoded(tmp_path, "libopus", "ogg", 5.0, 48000))
    page = pages_of(content)[3]
    content[page + 400] ^= 4
    with pytest.raises(AudioError, match=f"page at byte {page} has a wrong checksum|missing"):
        read_audio(bytes(content))


def test_the_checksum_of_ogg_is_that_of_its_definition():
    crc = 0  # bit by bit, RFC 3533
    page = bytes(range(200))
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)
            crc &= 0xFFFFFFFF
    assert checksum(page) == crc


def test_one_flipped_bit_in_flac_is_an_error_that_names_the_place(voice):
    content = bytearray(written(voice, "FLAC"))
    content[len(content) // 2] ^= 1
    with pytest.raises(AudioError, match=r"wrong checksum at about 0\.\d\d s|cut short or damaged"):
        read_audio(bytes(content))


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_flac_is_held_against_its_md5(voice, subtype):
    content = bytearray(written(np.repeat(voice, 2, axis=1), "FLAC", subtype=subtype))
    read_audio(bytes(content))
    content[30] ^= 1  # within the MD5
    with pytest.raises(AudioError, match="do not agree with the MD5"):
        read_audio(bytes(content))
    content[26:42] = bytes(16)  # not stated
    read_audio(bytes(content))


@pytest.mark.parametrize(("codec", "container"), [("wavpack", "wv"), ("tta", "tta"), ("ac3", "ac3")])
def test_checksums_of_other_codings_are_compared(tmp_path, codec, container):
    content = encoded(tmp_path, codec, container, 1.0, 48000)
    for place in (len(content) // 2, len(content) // 2 + 77):
        damaged = content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]
        with pytest.raises(AudioError, match=r"damaged|wrong|Invalid data"):
            read_audio(damaged)


@pytest.mark.parametrize("bits", [1, 4])
def test_samples_of_fewer_bits_than_a_byte_are_refused(voice, bits):
    wav = written(voice, "WAV", subtype="PCM_U8")
    with pytest.raises(AudioError, match=f"states samples of {bits} bits"):
        read_audio(wav[:34] + struct.pack("<H", bits) + wav[36:])


def test_more_sound_than_promised_is_damage():
    # G.723.1 at 6.3 kbit/s: frames that say they have one byte (silence) decode to 240 samples each.
    format_chunk = struct.pack("<HHIIHHHHI", 0x42, 1, 8000, 800, 24, 0, 10, 2, 0)
    format_chunk = b"fmt " + struct.pack("<I", len(format_chunk)) + format_chunk
    data = b"data" + struct.pack("<I", 3000) + b"\3" * 3000
    with pytest.raises(AudioError, match=r"holds more than the 3\.75 s of sound that its header states"):
        read_audio(b"RIFF" + struct.pack("<I", 4 + len(format_chunk) + len(data)) + b"WAVE" + format_chunk + data)


def test_alac_in_caf_whose_last_packet_is_shorter_is_read_whole(tmp_path):
    assert len(read_audio(encoded(tmp_path, "alac", "caf"))) == round(0.9 * RATE)


def test_mp3_in_wav_is_read_whole(tmp_path):
    content = encoded(tmp_path, "libmp3lame", "wav")
    assert len(read_audio(content)) == pytest.approx(0.9 * RATE, abs=0.1 * RATE)
    with pytest.raises(AudioError, match="cut short"):
        read_audio(content[: len(content) // 2])


def test_wave64_of_unknown_length_is_read_to_its_end(voice):
    content = bytearray(written(voice, "W64"))
    place = content.index(b"data") + 16
    content[16:24] = content[place : place + 8] = struct.pack("<Q", (1 << 63) - 1)
    np.testing.assert_array_equal(read_audio(bytes(content)), read_audio(written(voice, "W64")))


def test_windows_media_from_a_pipe_or_with_longer_pictures_is_read_whole(tmp_path):
    piped = bytearray(encoded(tmp_path, "wmav2", "asf"))
    place = piped.index(ASF_FILE_PROPERTIES)
    piped[place + 40 : place + 48] = bytes(8)  # the size of the file, which a pipe does not know
    piped[place + 88] |= 1  # broadcast
    assert len(read_audio(bytes(piped))) == pytest.approx(0.9 * RATE, abs=0.08 * RATE)
    path = tmp_path / "long.wmv"
    with av.open(str(path), "w", format="asf") as out:
        sound, pictures = out.add_stream("wmav2", rate=RATE, layout="mono"), out.add_stream("wmv2", rate=5)
        pictures.width = pictures.height = 64
        pictures.pix_fmt, sound.bit_rate = "yuv420p", 64_000
        frame = av.AudioFrame.from_ndarray(speech_like(1.0, RATE).T, format="fltp", layout="mono")
        frame.sample_rate = RATE
        out.start_encoding()
        fifo = av.AudioFifo()
        fifo.write(frame)
        for piece in fifo.read_many(sound.codec_context.frame_size):
            out.mux(sound.encode(piece))
        out.mux(sound.encode(None))
        for _ in range(15):
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            out.mux(pictures.encode(picture))
        out.mux(pictures.encode(None))
    assert len(read_audio(path)) == pytest.approx(RATE, abs=0.1 * RATE)


def test_joined_mp3_files_are_heard_one_after_the_other(tmp_path):
    one, two = (encoded(tmp_path, "libmp3lame", "mp3", seconds) for seconds in (0.9, 1.5))
    assert len(read_audio(one + two)) == pytest.approx(2.4 * RATE, abs=0.15 * RATE)


JUNK = {"zeros": bytes(3000), "junk": np.random.default_rng(4).integers(0, 200, 700, np.uint8).tobytes()}


@pytest.mark.parametrize("behind", JUNK)
@pytest.mark.parametrize(
    ("codec", "container"),
    [
        *(("libmp3lame", "mp3"), ("aac", "mpegts"), ("ac3", "ac3"), ("mp2", "mp2"), ("wmav2", "asf")),
        *(("wavpack", "wv"), ("flac", "flac")),
    ],
)
def test_what_is_no_sound_behind_the_end_is_passed_over(tmp_path, codec, container, behind):
    content = encoded(tmp_path, codec, container, rate=48000)
    alone, followed = read_audio(content), read_audio(content + JUNK[behind])
    assert 0 <= len(followed) - len(alone) < 0.05 * RATE  # MP3 with zeros behind keeps its encoder's padding
    np.testing.assert_allclose(followed[: len(alone) - 200], alone[:-200], atol=1e-6)


def test_encoder_delay_is_left_out_whether_the_container_states_it_or_not(tmp_path):
    stated = read_audio(encoded(tmp_path, "aac", "ipod"))
    assert len(stated) == pytest.approx(0.9 * RATE, abs=16)
    for container in ("adts", "mpegts", "matroska"):
        heard = read_audio(encoded(tmp_path, "aac", container))
        np.testing.assert_allclose(heard[: len(stated)], stated, atol=1e-5)
        assert len(heard) - len(stated) < 1024
