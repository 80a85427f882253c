"""A file of sound as a source: WAV, FLAC, OGG, MP3 and whatever else libsndfile reads, in a stream, at its
own depth.

Up to 16 bits are delivered as int16, up to 32 as int32; floats and what was coded with loss (Vorbis, Opus,
MP3) as float32, since their decoders compute in floats and may pass full scale. A file that is shorter than
its header promises is played as far as it goes, says so when it is opened where that can be seen, and ends
with the missing samples counted as lost.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import numpy as np
import soundfile

from ..errors import EarwitnessError, nearest
from ..messages import SampleType
from .source import Chunk, Format, Samples, SourceSpec, check_channel, take_channel

CUT_OFF = "cut off"  # the cause of loss at the end of a file that is shorter than it says
_STREAMED_BYTES = 0x7FFF_0000  # a WAV that was written into a pipe promises this much or more, and means nothing
_MAX_CHANNELS = 256
_MP3_PIECE = 4608  # its decoder rounds differently when asked for other lengths: always ask for this one
_INT16 = {"PCM_S8", "PCM_U8", "PCM_16", "ULAW", "ALAW", "ALAC_16", "DPCM_8", "DPCM_16", "DWVW_12", "DWVW_16"}
_INT32 = {"PCM_24", "PCM_32", "ALAC_20", "ALAC_24", "ALAC_32", "DWVW_24"}


class SoundFile:
    """See `source.Source`."""

    live = False

    def __init__(self, spec: SourceSpec):
        self.spec = spec
        self._file: soundfile.SoundFile | None = None
        self._position = 0
        self._promised = 0
        self._warning: str | None = None
        self._dtype: SampleType = "float32"
        self._held: Samples | None = None  # decoded and not handed out yet

    def open(self, first_sample: int = 0) -> Format:
        path = Path(self.spec.target).expanduser()
        self.close()
        file = self._file = _opened(path)
        channels = check_channel(self.spec, file.channels, str(path))
        self._dtype = _delivered_type(file.subtype)
        missing = _missing_by_header(file)
        self._promised = file.frames + (missing or 0)
        self._warning = self._look_for_damage(path, file, missing)
        self._position = 0
        self._go_to(file, first_sample)
        return Format(file.samplerate, channels, self._dtype, str(path), self._promised)

    def read(self, frames: int) -> Chunk | None:
        if self._file is None:
            return None
        samples = self._next(self._file, frames)
        if len(samples):
            return Chunk(take_channel(samples, self.spec.channel))
        self.close()
        missing = self._promised - self._position
        if missing <= 0:
            return None
        return Chunk(take_channel(samples, self.spec.channel), lost=missing, cause=CUT_OFF)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            self._held = None

    def warning(self) -> str | None:
        return self._warning

    def _next(self, file: soundfile.SoundFile, frames: int) -> Samples:
        if file.format != "MP3":
            samples = self._decode(file, frames)
        else:
            if self._held is None or not len(self._held):
                self._held = self._decode(file, _MP3_PIECE)
            samples, self._held = self._held[:frames], self._held[frames:]
        self._position += len(samples)
        return samples

    def _decode(self, file: soundfile.SoundFile, frames: int) -> Samples:
        """Up to `frames` samples `[samples, channels]`; what stands before damage is taken in ever smaller pieces."""
        while frames:
            try:
                samples: Samples = file.read(frames, dtype=self._dtype, always_2d=True)
                return samples
            except soundfile.LibsndfileError:
                frames //= 2
                try:
                    file.seek(self._position)
                except soundfile.LibsndfileError:
                    break
        return np.empty((0, file.channels), self._dtype)

    def _go_to(self, file: soundfile.SoundFile, first_sample: int) -> None:
        if not first_sample:
            return
        if file.seekable() and file.format != "MP3":
            self._position = file.seek(min(first_sample, file.frames))
            return
        while self._position < first_sample:  # an MP3 decoder after a seek is not at exactly the same samples
            if not len(self._next(file, first_sample - self._position)):
                break

    def _look_for_damage(self, path: Path, file: soundfile.SoundFile, missing: int | None) -> str | None:
        if missing:
            return (
                f"{path}: cut off: its header promises {self._promised} samples, {missing} of them are missing "
                f"({missing / file.samplerate:.2f} s)"
            )
        if missing is None:
            return f"{path}: cut off: its end is missing, how much cannot be known"
        if not self._promised:
            return f"{path}: holds no sound, only a header"
        if file.format == "FLAC" and not _last_sample_decodes(path):
            return f"{path}: damaged or cut off: the last of its {self._promised} samples cannot be decoded"
        return None


def _opened(path: Path) -> soundfile.SoundFile:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise EarwitnessError(f"{path} is a folder, not a sound file{_one_inside(path)}")
        if not stat.S_ISREG(mode):
            raise EarwitnessError(f"{path} is no file on a disk: to listen to a pipe, run --source - < {path}")
        if path.stat().st_size == 0:
            raise EarwitnessError(f"{path} is empty (0 bytes)")
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise EarwitnessError(f"no such file: {path}{_nearest_file(path)}") from None
    except NotADirectoryError:
        raise EarwitnessError(f"no such file: {path}: a part of its path is no folder") from None
    except OSError as error:
        raise EarwitnessError(f"{path} cannot be read: {error.strerror or error}") from None
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, TypeError) as error:
        reason = getattr(error, "error_string", str(error)).rstrip(".")
        raise EarwitnessError(
            f"{path} is no sound file that can be read ({reason}): WAV, FLAC, OGG, MP3 can; "
            "raw PCM goes to run --source -"
        ) from None
    if not (0 < file.channels <= _MAX_CHANNELS):
        raise EarwitnessError(f"{path} has {file.channels} channels: at most {_MAX_CHANNELS}")
    return file


def _delivered_type(subtype: str) -> SampleType:
    if subtype in _INT16 or "ADPCM" in subtype:
        return "int16"
    return "int32" if subtype in _INT32 else "float32"


def _missing_by_header(file: soundfile.SoundFile) -> int | None:
    """How many samples of the header's promise libsndfile found missing; None when it cannot say how many."""
    log: str = file.extra_info
    if "lacks an end-of-stream bit" in log:
        return None
    found = re.search(r"^\s*(?:data|SSND)\s*: (\d+) \(should be (\d+)\)", log, re.MULTILINE)
    if not found or file.frames == 0:
        return 0
    promised, there = int(found[1]), int(found[2])
    if promised <= there or promised >= _STREAMED_BYTES:
        return 0
    return (promised - there) * int(file.frames) // there


def _last_sample_decodes(path: Path) -> bool:
    """FLAC is found out only by decoding: look at the end of a second opening, so that the first stays unharmed."""
    try:
        with soundfile.SoundFile(path) as probe:
            probe.seek(probe.frames - 1)
            return len(probe.read(1, dtype="int32")) == 1
    except soundfile.LibsndfileError:
        return False


def _nearest_file(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f": there is no folder {folder}"
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.is_file()]
    except OSError:
        return ""
    hint = nearest(path.name, [*names, "mic", "demo"] if path.parent == Path() else names)
    return f"; {hint}" if hint.startswith("did you mean") else ""


def _one_inside(folder: Path) -> str:
    for entry in sorted(folder.iterdir())[:1000]:
        if entry.suffix.lower() in (".wav", ".flac", ".ogg", ".mp3"):
            return f"; give its files one by one, as in {entry}"
    return ""
