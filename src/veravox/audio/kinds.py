"""Which kinds of files and codings are decoded; everything else is refused, whatever the library could do."""

from __future__ import annotations

from veravox.audio.readers import Refused

# FFmpeg's names.
CONTAINERS = frozenset(
    (
        *("aac", "ac3", "aiff", "amr", "asf", "au", "avi", "caf", "eac3", "flac", "flv", "matroska", "mov", "mp3"),
        *("mpeg", "mpegts", "nistsphere", "ogg", "tta", "voc", "w64", "wav", "wv"),
    )
)
CODECS = frozenset(
    (
        *("aac", "aac_latm", "ac3", "adpcm_g726", "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "alac", "amrnb"),
        *("amrwb", "amr_nb", "amr_wb", "eac3", "flac", "g723_1", "gsm", "gsm_ms", "mp1", "mp2", "mp3", "opus"),
        *("pcm_alaw", "pcm_bluray", "pcm_dvd", "pcm_f32", "pcm_f64", "pcm_mulaw", "pcm_s16", "pcm_s24", "pcm_s32"),
        *("pcm_s8", "pcm_u8", "speex", "tta", "vorbis", "wavpack", "wmav1", "wmav2", "wmapro", "wmalossless"),
        "wmavoice",
    )
)
ALLOWED = "WAV, FLAC, MP3, AAC, M4A, Ogg, Opus, WebM, AMR, WMA, AIFF, CAF or a common kind of film"

# In small letters; text that begins with one of these, or has a line that does.
LISTS = (b"#extm3u", b"ffconcat", b"[playlist]", b"[reference]", b"v=0", b"<asx", b"<smil", b"<mpd", b"rem ")
LIST_LINES = (b"http://", b"https://", b"rtsp://", b"mms://", b"pnm://", b"file://", b"file ", b"<mpd", b"<smil")
OTHERS = {
    b"MMMD": "an SMAF ringtone (MMF)",
    b".RMF": "RealMedia",
    b".ra\xfd": "RealAudio",
    b"nut/": "NUT",
    b" paf": "Ensoniq PARIS (PAF)",
    b"fap ": "Ensoniq PARIS (PAF)",
    b"DSD ": "DSD",
    b"FRM8": "DSD",
    b".SoX": "SoX's own kind",
    b"XoS.": "SoX's own kind",
    b"MThd": "MIDI, which is notes and not sound",
    b"\x64\xa3\x01\x00": "IRCAM",
    b"\x64\xa3\x02\x00": "IRCAM",
    b"\x00\x01\xa3\x64": "IRCAM",
    b"\x00\x02\xa3\x64": "IRCAM",
    b"\x64\xa3\x03\x00": "IRCAM",
    b"\x00\x03\xa3\x64": "IRCAM",
    b"\x64\xa3\x04\x00": "IRCAM",
    b"\x00\x04\xa3\x64": "IRCAM",
}


def refuse_by_head(head: bytes) -> None:
    """Refuse lists of files and the kinds that are recognised but not allowed.

    Args:
        head: the first bytes of a file, a few hundred.
    Raises:
        Refused: naming the kind.
    """
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    lines = [line.strip() for line in text.splitlines()]
    if b"\0" not in head and (text.startswith(LISTS) or any(line.startswith(LIST_LINES) for line in lines)):
        raise Refused("is a list that points to other files, and those are not opened; name the files themselves")
    name = OTHERS.get(head[:4])
    if head[:4] == b"FORM" and head[8:12] == b"8SVX":
        name = "8SVX"
    if name:
        raise not_allowed(name)


def not_allowed(name: str) -> Refused:
    """The refusal of a kind or coding by its name."""
    return Refused(f"is of a kind that is not allowed ({name}); convert it to WAV or FLAC; read are {ALLOWED}")
