"""The microphones of this machine, each with an ID that stays the same when it is plugged in again or after a reboot.

PortAudio numbers devices in the order in which they appear, and that number is another one tomorrow. A USB device is
known by what it says of itself (`usb:VENDOR:PRODUCT:s=SERIAL`) or, when it has no serial number of its own, by the
port it is plugged into (`usb:VENDOR:PRODUCT:p=PORT`); every other device by its name.
"""

from __future__ import annotations

import ctypes
import difflib
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from ..config import SourceSettings
from ..errors import EarwitnessError
from ..messages import SampleType

PROC, SYSFS, DEV = Path("/proc"), Path("/sys"), Path("/dev")
INSTALL_PORTAUDIO = "sudo apt install libportaudio2"
_NO_SOUNDDEVICE = "a microphone needs the Python package sounddevice: pip install sounddevice"
_USB_ID = re.compile(r"usb:[0-9a-f]{4}:[0-9a-f]{4}(:[sp]=[^:\s]+(:d=\d+)?)?")
_HARDWARE = re.compile(r"\s*\((?:plug)?hw:(\d+),(\d+)\)$")  # how PortAudio ends the name of an ALSA device


class DeviceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One device that can be listened to."""

    id: str  # what `mic:ID` takes
    name: str
    host_api: str  # "ALSA", "Core Audio", …
    channels: int
    default_rate: int  # Hz
    is_default: bool
    index: int  # PortAudio's, good for this moment only
    alsa: tuple[int, int] | None = None  # card and device, where it is one of ALSA's


class UsbIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What Linux tells of a USB sound card."""

    vendor: str
    product: str
    serial: str
    port: str


def default_source(tell: Callable[[str], None]) -> SourceSettings:
    """What is listened to when nothing was said: the microphone, where there is one; else the demo, and says so."""
    try:
        found = list_devices()
    except EarwitnessError as error:
        tell(str(error))
        found = []
    if found:
        return SourceSettings(source="mic")
    tell("no microphone here: playing the demo scene (`earwitness doctor` tells more)")
    return SourceSettings(source="demo")


def list_devices(proc: Path = PROC, sysfs: Path = SYSFS) -> list[DeviceInfo]:
    """All devices with an input, as PortAudio lists them now. Raises EarwitnessError where PortAudio is missing."""
    sd = import_sounddevice()
    return identify(sd.query_devices(), sd.query_hostapis(), sd.default.device[0], proc, sysfs)


def identify(
    devices: Sequence[dict[str, Any]], host_apis: Sequence[dict[str, Any]], default: int, proc: Path, sysfs: Path
) -> list[DeviceInfo]:
    """Gives an ID to each input among PortAudio's devices; none depends on the order of the others."""
    preferred = devices[default]["hostapi"] if 0 <= default < len(devices) else 0
    found: list[tuple[DeviceInfo, UsbIdentity | None, bool]] = []
    for index, device in enumerate(devices):
        if device["max_input_channels"] < 1:
            continue
        name, alsa = _name_and_alsa(device["name"])
        info = DeviceInfo(
            id=name,
            name=name,
            host_api=host_apis[device["hostapi"]]["name"],
            channels=device["max_input_channels"],
            default_rate=round(device["default_samplerate"]),
            is_default=index == default,
            index=index,
            alsa=alsa,
        )
        usb = usb_identity(alsa[0], proc, sysfs) if alsa else None
        found.append((info, usb, device["hostapi"] == preferred))
    # Cheap devices share one serial number, and some write zeros: then it identifies nothing.
    same = Counter(
        (usb.vendor, usb.product, usb.serial, info.alsa and info.alsa[1]) for info, usb, _ in found if usb
    )
    result = []
    for info, usb, of_preferred in found:
        identity = info.name if of_preferred else f"{info.name} ({info.host_api})"
        if usb and info.alsa:
            device_number = info.alsa[1]
            own = usb.serial.strip("0") and same[usb.vendor, usb.product, usb.serial, device_number] == 1
            identity = f"usb:{usb.vendor}:{usb.product}:" + (f"s={usb.serial}" if own else f"p={usb.port}")
            identity += f":d={device_number}" if device_number else ""
        result.append(msgspec.structs.replace(info, id=identity))
    return result


def usb_identity(card: int, proc: Path = PROC, sysfs: Path = SYSFS) -> UsbIdentity | None:
    """What the USB device behind an ALSA card says of itself; None when it is none, or not on Linux."""
    try:
        vendor, _, product = (proc / f"asound/card{card}/usbid").read_text().strip().lower().partition(":")
        interface = (sysfs / f"class/sound/card{card}/device").resolve(strict=True)
    except OSError:
        return None
    device = interface.parent  # an interface such as 1-2:1.0 stands inside its device, 1-2
    try:
        serial = (device / "serial").read_text().strip()
    except OSError:
        serial = ""
    return UsbIdentity(vendor=vendor, product=product, serial=re.sub(r"[^\w.-]", "_", serial), port=device.name)


def find_device(wanted: str, devices: Sequence[DeviceInfo]) -> DeviceInfo | None:
    """The device with this ID ("": the default one); never a substitute. None when it is not there.

    A USB ID without serial and port names the device if there is exactly one of that make.
    """
    if not wanted:
        return next((device for device in devices if device.is_default), None)
    for device in devices:
        if device.id == wanted:
            return device
    if re.fullmatch(r"usb:[0-9a-f]{4}:[0-9a-f]{4}", wanted):
        of_make = [device for device in devices if device.id.startswith(f"{wanted}:")]
        return of_make[0] if len(of_make) == 1 else None
    return None


def absent(wanted: str, devices: Sequence[DeviceInfo]) -> str:
    """One line about a device that is not there, with the nearest that is."""
    if not wanted:
        return "no microphone is there; plug one in, or name a source that is: `earwitness devices` lists them"
    ids = [device.id for device in devices]
    if not ids:
        return f"microphone {wanted!r} is not there, nor any other"
    close = difflib.get_close_matches(wanted, ids, n=1, cutoff=0.0)[0]
    return f"microphone {wanted!r} is not there; the nearest that is: {close!r}; all: `earwitness devices`"


def check_id(wanted: str) -> None:
    """Refuses what can never become a device's ID. Raises EarwitnessError."""
    if wanted.isdecimal():
        raise EarwitnessError(f"mic:{wanted}: a number is no ID, it changes; `earwitness devices` prints the IDs")
    if wanted.startswith("usb:") and not _USB_ID.fullmatch(wanted):
        raise EarwitnessError(
            f"mic:{wanted}: a USB ID is usb:VENDOR:PRODUCT:s=SERIAL or …:p=PORT, VENDOR and PRODUCT of four digits "
            "0-9a-f; `earwitness devices` prints them"
        )


def busy_with(card: int, device: int, proc: Path = PROC) -> str | None:
    """Who holds the capture side of an ALSA device, as its status tells: "arecord (pid 4711)"; None when nobody."""
    try:
        status = (proc / f"asound/card{card}/pcm{device}c/sub0/status").read_text()
    except OSError:
        return None
    owner = re.search(r"owner_pid\s*: (\d+)", status)
    if not owner or int(owner[1]) == os.getpid():
        return None
    try:
        return f"{(proc / owner[1] / 'comm').read_text().strip()} (pid {owner[1]})"
    except OSError:
        return f"process {owner[1]}"


def holder_of(wanted: str, proc: Path = PROC, sysfs: Path = SYSFS) -> str | None:
    """Who holds the device with this ID. PortAudio lists no device that is held, so ALSA is asked."""
    for pcm in sorted(proc.glob("asound/card*/pcm*c")):
        numbers = re.fullmatch(r"card(\d+)/pcm(\d+)c", f"{pcm.parent.name}/{pcm.name}")
        if numbers and wanted in _ids_of(int(numbers[1]), int(numbers[2]), proc, sysfs):
            return busy_with(int(numbers[1]), int(numbers[2]), proc)
    return None


def native_type(device: DeviceInfo, proc: Path = PROC) -> SampleType:
    """int32 for a USB device that captures more than 16 bits, which ALSA tells; int16 otherwise."""
    if device.alsa is not None:
        try:
            text = (proc / f"asound/card{device.alsa[0]}/stream{device.alsa[1]}").read_text()
        except OSError:
            return "int16"
        if re.search(r"Format: S(24|32)", text.partition("Capture:")[2]):
            return "int32"
    return "int16"


def _ids_of(card: int, device: int, proc: Path, sysfs: Path) -> set[str]:
    """All IDs that `identify` could give to an ALSA device."""
    usb = usb_identity(card, proc, sysfs)
    if usb:
        end = f":d={device}" if device else ""
        return {f"usb:{usb.vendor}:{usb.product}:{own}{end}" for own in (f"s={usb.serial}", f"p={usb.port}")}
    try:
        cards = (proc / "asound/cards").read_text()
        info = (proc / f"asound/card{card}/pcm{device}c/info").read_text()
    except OSError:
        return set()
    card_name = re.search(rf"^ *{card} \[[^]]*\]: [^ ]+ - (.*)$", cards, re.MULTILINE)
    device_name = re.search(r"^name: (.*)$", info, re.MULTILINE)
    return {f"{card_name[1].strip()}: {device_name[1].strip()}"} if card_name and device_name else set()


def check_portaudio() -> None:
    """Finds out whether microphones can be opened at all, without looking for any. Raises EarwitnessError."""
    if find_spec("sounddevice") is None:
        raise EarwitnessError(_NO_SOUNDDEVICE)
    if sys.platform == "linux":  # elsewhere it comes with the package
        try:
            ctypes.CDLL("libportaudio.so.2")
        except OSError as error:
            raise EarwitnessError(f"a microphone needs PortAudio: {INSTALL_PORTAUDIO} ({error})") from None


def import_sounddevice() -> ModuleType:
    """sounddevice, silent; no stream may be open. Raises EarwitnessError that names the command that mends it."""
    _silence_alsa()
    os.environ.setdefault("JACK_NO_START_SERVER", "1")  # PortAudio asks for JACK; nobody wants it started for that
    try:
        import sounddevice
    except ModuleNotFoundError:
        raise EarwitnessError(_NO_SOUNDDEVICE) from None
    except OSError as error:
        raise EarwitnessError(f"a microphone needs PortAudio: {INSTALL_PORTAUDIO} ({error})") from None
    _forget_what_was_probed()
    module: ModuleType = sounddevice
    return module


def refresh(sd: ModuleType) -> None:
    """Lets PortAudio look for devices again, which it does only when it begins. No stream may be open."""
    sd._terminate()
    sd._initialize()
    _forget_what_was_probed()


def silence_portaudio() -> None:
    """PortAudio writes its source lines to standard error whenever a device fails, and has no switch against it.

    From here on what C libraries write to file descriptor 2 is lost; Python's standard error goes where it went.
    """
    global _silenced
    if _silenced or sys.stderr is None:
        return
    _silenced = True
    try:
        own = sys.stderr.fileno()
    except (OSError, ValueError):  # replaced by something without a descriptor, which stays as it is
        own = -1
    if own == 2:
        sys.stderr.flush()
        sys.stderr = open(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _name_and_alsa(name: str) -> tuple[str, tuple[int, int] | None]:
    """A PortAudio name without its ALSA numbers, which change, and the numbers.

    >>> _name_and_alsa("USB PnP Audio Device: Audio (hw:1,0)")
    ('USB PnP Audio Device: Audio', (1, 0))
    """
    found = _HARDWARE.search(name)
    if not found:
        return name, None
    return name[: found.start()], (int(found[1]), int(found[2]))


def _forget_what_was_probed() -> None:
    """PortAudio tries every device that ALSA knows, encoders too: their libraries, 10 MB of them, go again."""
    alsa = _alsa()
    if alsa is not None:
        alsa.snd_config_update_free_global()


def _alsa() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libasound.so.2") if sys.platform == "linux" else None
    except OSError:
        return None


def _silence_alsa() -> None:
    """ALSA writes a page to standard error about every device that it tried and did not find."""
    global _alsa_handler
    alsa = _alsa()
    if _alsa_handler is not None or alsa is None:
        return
    kind = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)
    _alsa_handler = kind(lambda *_: None)
    alsa.snd_lib_error_set_handler(_alsa_handler)


_silenced = False
_alsa_handler: Any = None  # ALSA keeps the pointer: it must live as long as the process
