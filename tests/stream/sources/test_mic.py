"""stream/sources/mic.py without a microphone: the callback, how a device is lost, and what is said then."""

from __future__ import annotations

import gc
import time
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from earwitness.stream.sources import mic
from earwitness.stream.sources.devices import DeviceInfo
from earwitness.stream.sources.mic import Microphone
from earwitness.stream.sources.source import SourceGone, SourceSpec


class PortAudioError(Exception):
    pass


class FakeStream:
    """An open stream; the test calls back in PortAudio's place."""

    def __init__(self, machine: Machine, **settings: Any):
        self.machine, self.settings = machine, settings
        self.active = False
        self.closed = False

    def start(self) -> None:
        if self.machine.refuses is not None:
            raise self.machine.refuses
        self.active = True

    def abort(self) -> None:
        self.active = False

    def close(self) -> None:
        self.closed = True

    def hear(self, samples: np.ndarray, overflow: bool = False, adc_s: float = 0.0) -> None:
        times = SimpleNamespace(inputBufferAdcTime=adc_s)
        self.settings["callback"](samples.tobytes(), len(samples), times, SimpleNamespace(input_overflow=overflow))


class Machine:
    """A machine with PortAudio and some devices."""

    PortAudioError = PortAudioError

    def __init__(self) -> None:
        self.devices = [self.device("ears")]
        self.refuses: Exception | None = None
        self.stream: FakeStream | None = None
        self.looked_again = 0

    @staticmethod
    def device(name: str, channels: int = 2, rate: int = 16_000) -> DeviceInfo:
        return DeviceInfo(
            id=name, name=name, host_api="ALSA", channels=channels, default_rate=rate, is_default=True, index=0
        )

    def RawInputStream(self, **settings: Any) -> FakeStream:
        self.stream = FakeStream(self, **settings)
        return self.stream

    def check_input_settings(self, **settings: Any) -> None:
        pass


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()

    def look_again(_: object) -> None:
        machine.looked_again += 1

    monkeypatch.setattr(mic, "import_sounddevice", lambda: machine)
    monkeypatch.setattr(mic, "silence_portaudio", lambda: None)
    monkeypatch.setattr(mic, "list_devices", lambda: machine.devices)
    monkeypatch.setattr(mic, "refresh", look_again)
    return machine


def microphone(target: str = "ears", channel: int | None = None) -> Microphone:
    return Microphone(SourceSpec(name="m", kind="mic", target=target, channel=channel, ring_s=1.0))


def block(samples: int = 320, channels: int = 2, start: int = 0) -> np.ndarray:
    return np.arange(start, start + samples * channels, dtype=np.int16).reshape(samples, channels)


def stream_of(machine: Machine) -> FakeStream:
    assert machine.stream is not None
    return machine.stream


def test_what_the_callback_hears_is_read_with_its_time(machine: Machine) -> None:
    source = microphone()
    format = source.open()
    assert (format.rate, format.channels, format.dtype) == (16_000, 2, "int16")
    before = time.monotonic_ns()
    stream_of(machine).hear(block())
    chunk = source.read(1000)
    assert np.array_equal(chunk.samples, block())
    assert chunk.heard is not None
    assert before <= chunk.heard[1] <= time.monotonic_ns()
    assert len(source.read(1000).samples) == 0
    source.close()


def test_one_channel_can_be_chosen(machine: Machine) -> None:
    source = microphone(channel=2)
    assert source.open().channels == 1
    stream_of(machine).hear(block())
    assert np.array_equal(source.read(1000).samples, block()[:, 1:])
    source.close()


def test_a_sound_server_that_offers_many_channels_is_asked_for_one(machine: Machine) -> None:
    machine.devices = [machine.device("pulse", channels=32, rate=44_100)]
    source = microphone("pulse")
    format = source.open()
    assert (format.channels, format.rate) == (1, 48_000)
    source.close()


def test_what_does_not_fit_into_the_ring_is_lost_and_told_where(machine: Machine) -> None:
    source = microphone()
    source.open()
    for k in range(60):  # 1.2 s into a ring of 1 s
        stream_of(machine).hear(block(start=k))
    got = source.read(1 << 20)
    assert (len(got.samples), got.lost) == (16_000, 0)
    stream_of(machine).hear(block())
    after = source.read(1 << 20)
    assert (len(after.samples), after.lost, after.cause) == (320, 60 * 320 - 16_000, "overrun")
    source.close()


def test_a_device_whose_own_buffer_ran_over_tells_about_how_much_is_missing(machine: Machine) -> None:
    source = microphone()
    source.open()
    stream_of(machine).hear(block(), adc_s=10.0)
    stream_of(machine).hear(block(), overflow=True, adc_s=10.52)
    assert source.read(320).lost == 0
    assert source.read(320).lost == 8000
    assert source.overflows == 1
    source.close()


def test_the_callback_leaves_no_memory_behind(machine: Machine) -> None:
    source = microphone()
    source.open()
    stream = stream_of(machine)
    sound = block()
    stream.hear(sound)
    source.read(320)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(500):
        stream.hear(sound)
        source.read(320)
    assert len(gc.get_objects()) - before < 20
    source.close()


def test_silence_of_two_seconds_means_gone(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    source = microphone()
    source.open()
    stream_of(machine).hear(block())
    source.read(320)
    assert len(source.read(320).samples) == 0
    later = time.monotonic_ns() + round(2.1e9)
    monkeypatch.setattr(mic.time, "monotonic_ns", lambda: later)
    with pytest.raises(SourceGone, match="no sound from the microphone for 2 s"):
        source.read(320)
    source.close()


def test_the_first_sound_may_take_longer_but_not_for_ever(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    source = microphone()
    source.open()
    now = time.monotonic_ns()
    monkeypatch.setattr(mic.time, "monotonic_ns", lambda: now + round(3e9))
    source.read(320)
    monkeypatch.setattr(mic.time, "monotonic_ns", lambda: now + round(6e9))
    with pytest.raises(SourceGone, match="in the first 5 s"):
        source.read(320)
    source.close()


def test_a_stream_that_ends_by_itself_is_gone_after_its_last_samples(machine: Machine) -> None:
    source = microphone()
    source.open()
    stream_of(machine).hear(block())
    stream_of(machine).active = False
    assert len(source.read(1000).samples) == 320
    with pytest.raises(SourceGone, match="ended by itself"):
        source.read(1000)
    source.close()


def test_a_device_that_is_not_there_is_looked_for_again_and_not_replaced(machine: Machine) -> None:
    machine.devices = [machine.device("other")]
    source = microphone("ears")
    for _ in range(2):
        with pytest.raises(SourceGone, match="'ears' is not there; the nearest that is: 'other'"):
            source.open()
    assert machine.looked_again == 1  # the first look is PortAudio's own
    machine.devices = [machine.device("other"), machine.device("ears", rate=8000)]
    assert source.open().rate == 8000
    source.close()


def test_a_busy_device_is_reported_with_who_holds_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.refuses = PortAudioError("Error opening RawInputStream: Device unavailable", -9985)
    source = microphone()
    with pytest.raises(SourceGone, match="'ears' is busy: another program holds it"):
        source.open()
    assert stream_of(machine).closed
    machine.devices = [msgspec.structs.replace(machine.devices[0], alsa=(1, 0))]
    monkeypatch.setattr(mic, "busy_with", lambda card, device: f"arecord (pid 47{card}{device})")
    with pytest.raises(SourceGone, match=r"held by arecord \(pid 4710\)"):
        source.open()


def test_a_held_device_that_portaudio_does_not_list_is_busy_and_not_absent(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.devices = []
    monkeypatch.setattr(mic, "holder_of", lambda wanted: "arecord (pid 4711)")
    with pytest.raises(SourceGone, match=r"'ears' is busy: held by arecord \(pid 4711\)"):
        microphone().open()


def test_closing_may_be_done_twice_and_reading_then_says_gone(machine: Machine) -> None:
    source = microphone()
    source.open()
    source.close()
    source.close()
    assert stream_of(machine).closed
    with pytest.raises(SourceGone):
        source.read(10)
