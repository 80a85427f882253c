"""A microphone as a source, through PortAudio.

PortAudio calls `_heard` from a thread of its own; it copies into a ring that is read without waiting, and does nothing
else. A device that is not there, is held by another program or falls silent for two seconds is `SourceGone`: whoever
holds this source opens it again later. It is then looked for anew, by its ID, and never replaced by another.
"""

from __future__ import annotations

import threading
import time
from types import ModuleType
from typing import Any

import numpy as np

from ..ring import HandOver
from .devices import (
    DeviceInfo,
    absent,
    busy_with,
    find_device,
    holder_of,
    import_sounddevice,
    list_devices,
    native_type,
    refresh,
    silence_portaudio,
)
from .source import LIVE_BLOCK_S, Chunk, Format, SourceGone, SourceSpec, check_channel

SILENT_S = 2.0  # no callback for so long while the stream claims to be open: it is gone
_FIRST_S = 5.0  # the first one may take longer: a sound server wakes up
_LATENCY_S = 0.1  # what the device's own buffer holds: a busy board may be late by that much
_UNKNOWN_LATENCY_S = 0.04  # how late even the promptest block may be: its length, and a sound server's as long
_CLOSE_S = 3.0  # closing a stream whose device is gone can hang
_MANY_CHANNELS = 8  # who offers more is a sound server, which mixes
_DEVICE_UNAVAILABLE = -9985  # PortAudio


class Microphone:
    """See `source.Source`. All channels of a device are delivered, but one channel of a sound server's."""

    live = True

    def __init__(self, spec: SourceSpec):
        self.spec = spec
        self.overflows = 0  # how often the device's own buffer ran over, over all openings
        self._opened_before = False
        self._stream: Any = None
        self._ring: HandOver | None = None
        self._format: Format | None = None
        self._dtype: Any = np.int16
        self._channels = 1
        self._started_ns = 0
        self._heard_ns = 0  # when the callback was last there; 0: not yet
        self._next_adc_s = 0.0

    def open(self, first_sample: int = 0) -> Format:
        self.close()
        sd = import_sounddevice()
        silence_portaudio()
        if self._opened_before:
            refresh(sd)
        self._opened_before = True
        devices = list_devices()
        device = find_device(self.spec.target, devices)
        if device is None:
            holder = holder_of(self.spec.target)
            raise SourceGone(_busy(self.spec.target, holder) if holder else absent(self.spec.target, devices))
        return self._start(sd, device)

    def read(self, frames: int) -> Chunk | None:
        if self._ring is None or self._format is None:
            raise SourceGone("the microphone is not open")
        taken = self._ring.read(frames)
        if not len(taken.samples) and not taken.lost:
            self._check_alive()
        heard = (taken.wall_ns, taken.monotonic_ns) if len(taken.samples) else None
        return Chunk(taken.samples, taken.lost, "overrun" if taken.lost else "", heard)

    def close(self) -> None:
        stream, self._stream, self._ring = self._stream, None, None
        if stream is None:
            return
        # A stream whose device vanished can keep its closer waiting for ever; nobody shall wait with it.
        closer = threading.Thread(target=_close, args=(stream,), name="close microphone", daemon=True)
        closer.start()
        closer.join(_CLOSE_S)
        if closer.is_alive():
            raise SourceStuck("the microphone's driver does not let go of it")

    def warning(self) -> str | None:
        return None

    def _start(self, sd: ModuleType, device: DeviceInfo) -> Format:
        offered = device.channels if device.channels <= _MANY_CHANNELS else max(1, self.spec.channel or 1)
        delivered = check_channel(self.spec, offered, f"microphone {device.id!r}")
        self._channels = offered
        dtype = native_type(device)
        self._dtype = np.dtype(dtype)
        rate = _rate(sd, device, offered, dtype)
        self._ring = HandOver(round(self.spec.ring_s * rate), delivered, dtype)
        self._format = Format(rate, delivered, dtype, device.name, utc_error_ns=round(_UNKNOWN_LATENCY_S * 1e9))
        self._heard_ns = 0
        self._next_adc_s = 0.0
        self._started_ns = time.monotonic_ns()
        try:
            stream = sd.RawInputStream(
                samplerate=rate,
                blocksize=round(rate * LIVE_BLOCK_S),
                device=device.index,
                channels=offered,
                dtype=dtype,
                latency=_LATENCY_S,
                callback=self._heard,
            )
            self._stream = stream
            stream.start()
        except sd.PortAudioError as error:
            self.close()
            raise SourceGone(_why_not(device, error)) from None
        return self._format

    def _heard(self, data: Any, frames: int, times: Any, status: Any) -> None:
        """PortAudio's callback. Takes no lock, makes no copy of its own, says nothing."""
        ring = self._ring
        if ring is None:
            return
        adc_s = times.inputBufferAdcTime
        if status.input_overflow:
            # The device's own buffer ran over before this block. How much is missing only its clock tells.
            self.overflows += 1
            ring.lose(max(1, min(ring.capacity, round((adc_s - self._next_adc_s) * self._format.rate))))  # type: ignore[union-attr]
        self._next_adc_s = adc_s + frames / self._format.rate  # type: ignore[union-attr]
        block = np.frombuffer(data, self._dtype).reshape(frames, self._channels)
        if self.spec.channel is not None:
            block = block[:, self.spec.channel - 1 : self.spec.channel]
        now = time.monotonic_ns()
        ring.write(block, time.time_ns(), now)
        self._heard_ns = now

    def _check_alive(self) -> None:
        if not self._stream.active:
            raise SourceGone("the microphone's stream ended by itself")
        now = time.monotonic_ns()
        if self._heard_ns and now - self._heard_ns > SILENT_S * 1e9:
            raise SourceGone(f"no sound from the microphone for {SILENT_S:g} s, though its stream claims to be open")
        if not self._heard_ns and now - self._started_ns > _FIRST_S * 1e9:
            raise SourceGone(f"no sound from the microphone in the first {_FIRST_S:g} s, though it could be opened")


class SourceStuck(Exception):
    """The driver does not answer. Only a new process helps."""


def _close(stream: Any) -> None:
    try:
        stream.abort()
    finally:
        stream.close()


def _rate(sd: ModuleType, device: DeviceInfo, channels: int, dtype: str) -> int:
    """A device's own rate. A sound server takes any and resamples, PortAudio then says 44100: most run at 48000."""
    if device.channels > _MANY_CHANNELS:
        try:
            sd.check_input_settings(device=device.index, channels=channels, dtype=dtype, samplerate=48_000)
        except sd.PortAudioError:
            return device.default_rate
        return 48_000
    return device.default_rate


def _busy(identity: str, holder: str | None) -> str:
    return f"microphone {identity!r} is busy: " + (f"held by {holder}" if holder else "another program holds it")


def _why_not(device: DeviceInfo, error: Exception) -> str:
    code = error.args[1] if len(error.args) > 1 else None
    if code == _DEVICE_UNAVAILABLE:
        return _busy(device.id, busy_with(*device.alsa) if device.alsa else None)
    text = str(error.args[0] if error.args else error).partition("[")[0].strip().rstrip(":")
    return f"microphone {device.id!r} cannot be opened: {text}"
