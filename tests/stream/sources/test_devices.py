"""stream/sources/devices.py: IDs that survive a reboot, and never a substitute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.stream.errors import EarwitnessError
from earwitness.stream.sources import devices
from earwitness.stream.sources.devices import (
    DeviceInfo,
    absent,
    busy_with,
    check_id,
    find_device,
    holder_of,
    identify,
    native_type,
    usb_identity,
)


def device(name: str, inputs: int = 1, api: int = 0) -> dict[str, Any]:
    return {"name": name, "max_input_channels": inputs, "default_samplerate": 48_000.0, "hostapi": api}


def plug(machine: Path, card: int, port: str, usbid: str = "0d8c:0014", serial: str | None = None) -> None:
    """A USB sound card as Linux shows it under /proc and /sys."""
    usb = machine / f"sys/devices/pci0/usb1/{port}"
    (usb / f"{port}:1.0").mkdir(parents=True)
    if serial is not None:
        (usb / "serial").write_text(f"{serial}\n")
    (machine / f"sys/class/sound/card{card}").mkdir(parents=True)
    (machine / f"sys/class/sound/card{card}/device").symlink_to(usb / f"{port}:1.0")
    (machine / f"proc/asound/card{card}").mkdir(parents=True)
    (machine / f"proc/asound/card{card}/usbid").write_text(f"{usbid}\n")


def ids(machine: Path, devices: list[dict[str, Any]], default: int = 0) -> list[str]:
    apis = [{"name": "ALSA"}, {"name": "JACK"}]
    return [info.id for info in identify(devices, apis, default, machine / "proc", machine / "sys")]


def test_a_usb_device_is_known_by_its_serial_number_else_by_its_port(tmp_path: Path) -> None:
    plug(tmp_path, 1, "1-2", serial="AB 12/3")
    plug(tmp_path, 2, "1-3.1")
    devices = [device("One: USB Audio (hw:1,0)"), device("Two: USB Audio (hw:2,0)"), device("default", 32)]
    assert ids(tmp_path, devices) == ["usb:0d8c:0014:s=AB_12_3", "usb:0d8c:0014:p=1-3.1", "default"]


def test_the_id_stays_when_card_numbers_and_the_order_change(tmp_path: Path) -> None:
    plug(tmp_path / "a", 1, "1-2", serial="S1")
    plug(tmp_path / "a", 2, "1-3", serial="S2")
    plug(tmp_path / "b", 2, "1-2", serial="S1")
    plug(tmp_path / "b", 0, "1-3", serial="S2")
    first = ids(tmp_path / "a", [device("X (hw:1,0)"), device("X (hw:2,0)"), device("HDA: Analog (hw:0,0)")])
    later = ids(tmp_path / "b", [device("HDA: Analog (hw:1,0)"), device("X (hw:0,0)"), device("X (hw:2,0)")])
    assert sorted(first) == sorted(later)


@pytest.mark.parametrize("serial", ["000000000000", "same", ""])
def test_a_serial_number_that_identifies_nothing_is_not_used(tmp_path: Path, serial: str) -> None:
    plug(tmp_path, 1, "1-2", serial=serial)
    plug(tmp_path, 2, "1-3", serial=serial)
    assert ids(tmp_path, [device("X (hw:1,0)"), device("X (hw:2,0)")]) == ["usb:0d8c:0014:p=1-2", "usb:0d8c:0014:p=1-3"]


def test_two_inputs_of_one_card_are_told_apart(tmp_path: Path) -> None:
    plug(tmp_path, 1, "1-2", serial="S1")
    found = ids(tmp_path, [device("X (hw:1,0)"), device("X (hw:1,1)")])
    assert found == ["usb:0d8c:0014:s=S1", "usb:0d8c:0014:s=S1:d=1"]


def test_other_devices_are_known_by_name_and_outputs_are_left_out(tmp_path: Path) -> None:
    devices = [device("HDA: Analog (hw:0,0)"), device("HDMI (hw:0,3)", 0), device("ears", 32), device("ears", 2, api=1)]
    assert ids(tmp_path, devices) == ["HDA: Analog", "ears", "ears (JACK)"]


def info(identity: str, is_default: bool = False, alsa: tuple[int, int] | None = None) -> DeviceInfo:
    return DeviceInfo(
        id=identity, name=identity, host_api="ALSA", channels=1, default_rate=48_000, index=0,
        is_default=is_default, alsa=alsa,
    )  # fmt: skip


HERE = [
    info("usb:0d8c:0014:s=S1"),
    info("usb:0d8c:0014:p=1-3"),
    info("usb:1234:abcd:s=X"),
    info("ears", is_default=True),
]


def test_a_device_is_found_by_its_whole_id_or_by_its_make_when_there_is_one() -> None:
    assert find_device("usb:0d8c:0014:p=1-3", HERE) is HERE[1]
    assert find_device("", HERE) is HERE[3]
    assert find_device("usb:1234:abcd", HERE) is HERE[2]
    assert find_device("usb:0d8c:0014", HERE) is None  # two of that make: no guess
    assert find_device("", HERE[:3]) is None


@given(st.text(min_size=1))
def test_a_device_that_is_not_there_is_never_replaced(wanted: str) -> None:
    found = find_device(wanted, HERE)
    assert found is None or found.id == wanted


def test_what_is_not_there_names_the_nearest() -> None:
    assert "'usb:0d8c:0014:s=S1'" in absent("usb:0d8c:0014:s=S2", HERE)
    assert "not there, nor any other" in absent("ears", [])
    assert "plug one in" in absent("", [])


@pytest.mark.parametrize("wanted", ["3", "usb:xyz:0014", "usb:0d8c", "usb:0D8C:0014:s=1", "usb:0d8c:0014:1-2"])
def test_what_can_be_no_id_is_refused(wanted: str) -> None:
    with pytest.raises(EarwitnessError, match="earwitness devices"):
        check_id(wanted)


@pytest.mark.parametrize("wanted", ["", "ears", "usb:0d8c:0014", "usb:0d8c:0014:s=AB.1", "usb:0d8c:0014:p=1-2.3:d=1"])
def test_ids_are_taken_whether_the_device_is_there_or_not(wanted: str) -> None:
    check_id(wanted)


def hold(machine: Path, card: int, device: int, pid: int | None, name: str = "USB Audio") -> None:
    """An ALSA capture device as Linux shows it, held by a process or by none."""
    pcm = machine / f"proc/asound/card{card}/pcm{device}c"
    (pcm / "sub0").mkdir(parents=True)
    (pcm / "info").write_text(f"card: {card}\ndevice: {device}\nstream: CAPTURE\nid: x\nname: {name}\n")
    status = "closed\n" if pid is None else f"state: RUNNING\nowner_pid   : {pid}\n"
    (pcm / "sub0" / "status").write_text(status)


def test_who_holds_a_device_is_told_with_its_process(tmp_path: Path) -> None:
    proc, sysfs = tmp_path / "proc", tmp_path / "sys"
    plug(tmp_path, 1, "1-2", serial="S1")
    hold(tmp_path, 1, 0, 4711)
    hold(tmp_path, 1, 1, None)
    hold(tmp_path, 2, 0, 4712, name="ALC295 Analog")
    (proc / "4711").mkdir()
    (proc / "4711/comm").write_text("arecord\n")
    (proc / "asound/cards").write_text(
        " 1 [Device         ]: USB-Audio - USB PnP Device\n                      C-Media at usb-1\n"
        " 2 [PCH            ]: HDA-Intel - HDA Intel PCH\n                      HDA Intel PCH at 0x4001\n"
    )
    assert busy_with(1, 0, proc) == "arecord (pid 4711)"
    assert busy_with(1, 1, proc) is None
    assert busy_with(3, 0, proc) is None
    assert holder_of("usb:0d8c:0014:s=S1", proc, sysfs) == "arecord (pid 4711)"
    assert holder_of("usb:0d8c:0014:s=S1:d=1", proc, sysfs) is None
    assert holder_of("HDA Intel PCH: ALC295 Analog", proc, sysfs) == "process 4712"
    assert holder_of("ears", proc, sysfs) is None


def test_a_device_with_24_bits_is_heard_with_all_of_them(tmp_path: Path) -> None:
    card = tmp_path / "asound/card1"
    card.mkdir(parents=True)
    (card / "stream0").write_text("Playback:\n  Format: S24_3LE\nCapture:\n  Format: S16_LE\n")
    (card / "stream1").write_text("Playback:\n  Format: S16_LE\nCapture:\n  Format: S24_3LE\n")
    assert native_type(info("x", alsa=(1, 0)), tmp_path) == "int16"
    assert native_type(info("x", alsa=(1, 1)), tmp_path) == "int32"
    assert native_type(info("x", alsa=(2, 0)), tmp_path) == "int16"


def test_a_card_that_is_no_usb_device_has_no_usb_identity(tmp_path: Path) -> None:
    assert usb_identity(0, tmp_path / "proc", tmp_path / "sys") is None


def test_a_missing_portaudio_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(devices.sys, "platform", "linux")
    monkeypatch.setattr(devices.ctypes, "CDLL", missing)
    with pytest.raises(EarwitnessError, match="sudo apt install libportaudio2"):
        devices.check_portaudio()
    monkeypatch.setattr(devices, "find_spec", lambda _: None)
    with pytest.raises(EarwitnessError, match="pip install sounddevice"):
        devices.check_portaudio()
