"""A network stream as a source: RTSP, HTTP, HLS and whatever else FFmpeg opens, through PyAV.

A thread of its own receives, decodes and writes into a ring; `read` never waits. A stream that ends, fails,
falls silent for two seconds or changes its rate is `SourceGone`: whoever holds this source opens it again as
a new epoch, at the rate that it then has. Nothing is ever resampled here.
"""

from __future__ import annotations

import threading
import time
from importlib.util import find_spec
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np

from ..errors import EarwitnessError
from ..messages import SampleType
from ..ring import HandOver
from .source import Chunk, Format, Samples, SourceGone, SourceSpec, check_channel

SILENT_S = 2.0
_NO_AV = "network streams need PyAV: pip install 'earwitness[network]'"
_OPEN_S = 10.0  # connecting and finding out what it is
_FIRST_S = 10.0
_CLOSE_S = 3.0
_UNKNOWN_LATENCY_S = 2.0  # servers and FFmpeg buffer; nothing in the stream says how much
_DELIVERED: dict[str, SampleType] = {"u8": "int16", "s16": "int16", "s32": "int32", "flt": "float32", "dbl": "float32"}


class NetworkStream:
    """See `source.Source`."""

    live = True

    def __init__(self, spec: SourceSpec):
        self.spec = spec
        self._receiver: _Receiver | None = None
        self._opened_ns = 0

    def open(self, first_sample: int = 0) -> Format:
        self.close()
        av = import_av()
        receiver = _Receiver(av, self.spec)
        self._receiver = receiver
        self._opened_ns = time.monotonic_ns()
        return receiver.start()

    def read(self, frames: int) -> Chunk | None:
        receiver = self._receiver
        if receiver is None or receiver.ring is None:
            raise SourceGone("the stream is not open")
        over = receiver.over  # before the ring is read: what came before the end is still in it
        taken = receiver.ring.read(frames)
        if not len(taken.samples) and not taken.lost:
            if over is not None:
                raise SourceGone(f"{without_secrets(self.spec.target)}: {over}")
            self._check_alive(receiver)
        heard = (taken.wall_ns, taken.monotonic_ns) if len(taken.samples) else None
        return Chunk(taken.samples, taken.lost, "overrun" if taken.lost else "", heard)

    def close(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.stop()

    def warning(self) -> str | None:
        return None

    def _check_alive(self, receiver: _Receiver) -> None:
        now = time.monotonic_ns()
        if receiver.heard_ns and now - receiver.heard_ns > SILENT_S * 1e9:
            raise SourceGone(f"{without_secrets(self.spec.target)}: no sound for {SILENT_S:g} s")
        if not receiver.heard_ns and now - self._opened_ns > _FIRST_S * 1e9:
            raise SourceGone(f"{without_secrets(self.spec.target)}: no sound in the first {_FIRST_S:g} s")


class _Receiver:
    """The thread of one opening. It ends when the stream does, or soon after `stop`."""

    def __init__(self, av: ModuleType, spec: SourceSpec):
        self._av, self._spec = av, spec
        self._ready = threading.Event()
        self._stop = False
        self._format: Format | None = None
        self._channels_there = 0
        self._problem: EarwitnessError | None = None
        self._thread = threading.Thread(target=self._run, name=f"receive {spec.name}", daemon=True)
        self.ring: HandOver | None = None
        self.heard_ns = 0
        self.over: str | None = None  # why it ended

    def start(self) -> Format:
        """Waits until the stream's format is known."""
        self._thread.start()
        where = without_secrets(self._spec.target)
        if not self._ready.wait(_OPEN_S + 5.0):
            self._stop = True
            raise SourceGone(f"{where}: did not open within {_OPEN_S + 5.0:g} s")
        if self._problem is not None:
            raise self._problem
        if self._format is None:
            raise SourceGone(f"{where}: {self.over}")
        return self._format

    def stop(self) -> None:
        """Asks the thread to end; it is in FFmpeg's hands for at most the time-out of a read."""
        self._stop = True
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        try:
            url = self._spec.target
            with self._av.open(url, timeout=(_OPEN_S, SILENT_S), options=_options(url)) as stream:
                self._receive(stream)
            self.over = "the stream ended"
        except (self._av.FFmpegError, OSError) as error:
            self.over = getattr(error, "strerror", None) or str(error)
        except _NotUsable as error:
            self.over = str(error)
        except EarwitnessError as error:
            self._problem = error
        finally:
            self._ready.set()

    def _receive(self, stream: Any) -> None:
        if not stream.streams.audio:
            raise _NotUsable("there is no sound in this stream")
        track = stream.streams.audio[0]
        track.thread_type = "NONE"  # sound decodes in no time, and threads cost memory
        for frame in stream.decode(track):
            if self._stop:
                return
            samples = _samples(frame)
            if self._format is None:
                self._begin(frame, samples)
            elif (frame.sample_rate, samples.shape[1]) != (self._format.rate, self._channels_there):
                raise _NotUsable(
                    f"it changed from {self._format.rate} Hz, {self._channels_there} channels "
                    f"to {frame.sample_rate} Hz, {samples.shape[1]} channels"
                )
            if self._spec.channel is not None:
                samples = samples[:, self._spec.channel - 1 : self._spec.channel]
            now = time.monotonic_ns()
            self._write(samples, now)
            self.heard_ns = now

    def _begin(self, frame: Any, samples: Samples) -> None:
        self._channels_there = samples.shape[1]
        where = without_secrets(self._spec.target)
        channels = check_channel(self._spec, self._channels_there, where)
        dtype: SampleType = samples.dtype.name  # type: ignore[assignment]
        self.ring = HandOver(round(self._spec.ring_s * frame.sample_rate), channels, dtype)
        self._format = Format(frame.sample_rate, channels, dtype, where, utc_error_ns=round(_UNKNOWN_LATENCY_S * 1e9))
        self._ready.set()

    def _write(self, samples: Samples, now: int) -> None:
        """A server may send its backlog at once, and a file on a web server all of itself: TCP can wait, so wait."""
        ring = self.ring
        assert ring is not None
        patience = time.monotonic() + SILENT_S
        while ring.capacity - ring.waiting < len(samples) and not self._stop and time.monotonic() < patience:
            time.sleep(0.02)
        ring.write(samples, time.time_ns(), now)


class _NotUsable(Exception):
    """Why a stream cannot be listened to, or not any longer."""


def check_av() -> None:
    """Finds out whether PyAV is there, without loading its 60 MB. Raises EarwitnessError."""
    if find_spec("av") is None:
        raise EarwitnessError(_NO_AV)


def import_av() -> ModuleType:
    """PyAV. Raises EarwitnessError with the command that installs it."""
    try:
        import av
        import av.logging
    except ImportError:
        raise EarwitnessError(_NO_AV) from None
    av.logging.set_level(av.logging.PANIC)  # what matters is raised
    module: ModuleType = av
    return module


def without_secrets(url: str) -> str:
    """An address that may be shown: without user, password and query.

    >>> without_secrets("rtsp://me:secret@cam.local:554/live?token=1")
    'rtsp://cam.local:554/live'
    """
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _options(url: str) -> dict[str, str]:
    options = {"probesize": "500000", "analyzeduration": "2000000"}  # bytes and µs: sound is recognised in less
    if url.startswith("rtsp"):
        options |= {"rtsp_transport": "tcp", "allowed_media_types": "audio"}
    return options


def _samples(frame: Any) -> Samples:
    """A frame as `[samples, channels]` of the type that is delivered."""
    values = frame.to_ndarray()
    channels = frame.layout.nb_channels
    samples = values.T if frame.format.is_planar else values.reshape(-1, channels)
    kind = frame.format.name.rstrip("p")
    if kind == "u8":
        samples = (samples.astype(np.int16) - 128) << 8
    if kind not in _DELIVERED:
        raise _NotUsable(f"its samples are of the type {kind}, which is not supported")
    return np.ascontiguousarray(samples, _DELIVERED[kind])
