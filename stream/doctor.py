"""What this machine has and lacks for listening, each with the command that mends it: `earwitness doctor`."""

from __future__ import annotations

import ctypes
import importlib
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from .errors import EarwitnessError
from .sources.devices import DEV, INSTALL_PORTAUDIO, DeviceInfo, import_sounddevice, list_devices

Level = Literal["ok", "warn", "bad"]

OPEN_FILES = 1024  # a run with 64 streams and all nodes holds fewer
FREE_BYTES = 1 << 30  # an hour of FLAC at 48 kHz mono is about 150 MB
SOCKET_PATH_BYTES = 107  # sun_path of Linux, its closing zero left out
_NATIVE = ("numpy", "zmq", "msgspec", "soundfile", "soxr", "onnxruntime")
_TIME_ERROR = 5  # adjtimex: the clock is not synchronised


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `bad`: a run fails; `warn`: part of it does; `mend` is a command, or ""."""

    level: Level
    what: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.level:<5}{self.what}" + (f"\n     mend: {self.mend}" if self.mend else "")


def diagnose(out: Path) -> list[Finding]:
    """Looks at all that a run with output folder `out` needs. Listens to nothing, changes nothing."""
    return [
        check_python(),
        *check_libraries(),
        check_portaudio(),
        check_microphones(DEV / "snd"),
        check_sound_server(os.environ),
        *check_extras(),
        check_folder(out),
        check_socket_folder(Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())),
        check_open_files(),
        check_clock(),
    ]


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Finding:
    text = f"Python {'.'.join(map(str, version))} in {sys.prefix}"
    if version < (3, 11):
        return Finding("bad", f"{text}: 3.11 is the oldest that works", "sudo apt install python3.11-venv")
    return Finding("ok", text)


def check_libraries(names: Iterable[str] = _NATIVE) -> list[Finding]:
    """The compiled libraries load: a wheel for another machine is noticed here, not by a node's traceback."""
    broken = []
    versions = []
    for name in names:
        try:
            importlib.import_module(name)
            versions.append(f"{name} {metadata.version(_distribution(name))}")
        except (ImportError, OSError) as error:
            mend = _pip(f"--force-reinstall {_distribution(name)}")
            broken.append(Finding("bad", f"{name} does not load: {_line(error)}", mend))
    return broken or [Finding("ok", ", ".join(versions))]


def check_portaudio() -> Finding:
    """Microphones need the system's PortAudio; files, pipes and network streams do not."""
    try:
        version = import_sounddevice().get_portaudio_version()[1]
    except EarwitnessError as error:
        return Finding("warn", f"no microphone can be opened: {_line(error)}", _system_package())
    return Finding("ok", str(version))


def check_microphones(folder: Path, list_all: Callable[[], Sequence[DeviceInfo]] = list_devices) -> Finding:
    """What `mic` and `mic:ID` can open; where that is nothing, whether the kernel in `folder` knows more."""
    try:
        names = [f"mic:{device.id}" + " (the default)" * device.is_default for device in list_all()]
    except EarwitnessError:
        names = []  # no PortAudio, which is told already
    if names:
        return Finding("ok", f"microphones: {', '.join(names)}")
    closed = [device.name for device in sorted(folder.glob("pcmC*c")) if not os.access(device, os.R_OK | os.W_OK)]
    if closed:
        mend = "sudo usermod -aG audio $USER  (then log in again)"
        return Finding("warn", f"this user may not open {', '.join(closed)} in {folder}", mend)
    return Finding("warn", "no microphone: plug one in, then `earwitness devices`")


def check_sound_server(environment: Mapping[str, str]) -> Finding:
    """PulseAudio or PipeWire share a microphone among programs; without them one program holds it alone."""
    runtime = Path(environment.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}"))
    sockets = {"PulseAudio": runtime / "pulse" / "native", "PipeWire": runtime / "pipewire-0"}
    running = [name for name, path in sockets.items() if path.exists()]
    if not running and not environment.get("PULSE_SERVER"):
        return Finding("ok", "no sound server: microphones are opened through ALSA, by one program at a time")
    return Finding("ok", f"sound server: {', '.join(running) or environment['PULSE_SERVER']}")


def check_extras() -> list[Finding]:
    """What only some runs need. Nothing heavy is imported."""
    found = []
    if find_spec("av") is None:
        found.append(Finding("ok", "no PyAV: rtsp:// and http:// sources need it", _pip("av")))
    else:
        found.append(Finding("ok", f"PyAV {metadata.version('av')}: rtsp:// and http:// sources"))
    card = Path("/proc/driver/nvidia/version").exists()
    torch = find_spec("torch") is not None
    if card and not torch:
        what = "an NVIDIA card, but no torch: --device cuda cannot use it"
        found.append(Finding("warn", what, _pip("torch safetensors")))
    elif torch:
        what = "--device cuda can use the card" if card else "no NVIDIA card, so live runs do not use it"
        found.append(Finding("ok", f"torch {metadata.version('torch')}: {what}"))
    found.append(check_kernel())
    return found


def check_kernel(module: str = "earwitness.stream.features._kernel") -> Finding:
    """Whether the front end's inner loops were compiled when this was installed."""
    try:
        importlib.import_module(module)
        return Finding("ok", "the front end's kernel is compiled")
    except ImportError:
        pass
    mend = f"sudo apt install gcc python3-dev, then in the clone {_pip('--force-reinstall --no-deps .')}"
    return Finding("warn", "the front end's kernel is not compiled: features take several times longer", mend)


def check_folder(out: Path) -> Finding:
    """Events and clips can be written, and there is room."""
    folder = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not folder.is_dir():
        return Finding("bad", f"output folder {out}: {folder} is a file", "choose another with --out")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding("bad", f"output folder {out}: this user may not write to {folder}", "choose another with --out")
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB free for {out}"
    if free < FREE_BYTES:
        return Finding("warn", f"{text}: clips fill it soon", "free some, or choose another disk with --out")
    return Finding("ok", text)


def check_socket_folder(folder: Path) -> Finding:
    """The nodes of a run meet at sockets, in a private folder in here."""
    longest = len(os.fsencode(folder)) + len("/earwitness-xxxxxxxxxxxx/features.lossless")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding("bad", f"folder for sockets {folder}: not writable", "export XDG_RUNTIME_DIR=/tmp")
    if longest > SOCKET_PATH_BYTES:
        return Finding("bad", f"folder for sockets {folder}: its name is too long", "export XDG_RUNTIME_DIR=/tmp")
    return Finding("ok", f"folder for sockets: {folder}")


def check_open_files(limit: int | None = None) -> Finding:
    """How many files and sockets one process may hold."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if limit is None else limit
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES:
        return Finding("warn", f"open files: at most {soft}, too few for many streams", f"ulimit -n {OPEN_FILES}")
    return Finding("ok", "open files: " + ("no limit" if soft == resource.RLIM_INFINITY else f"at most {soft}"))


def check_clock() -> Finding:
    """Events carry UTC; a clock that nobody sets makes them wrong."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))  # modes = 0: only asks
    except (AttributeError, OSError):
        return Finding("ok", "whether the clock is synchronised cannot be told here")
    if state == _TIME_ERROR:
        what = "the clock is not synchronised: UTC of events may be wrong"
        return Finding("warn", what, "sudo timedatectl set-ntp true")
    return Finding("ok", "the clock is synchronised")


def _system_package() -> str:
    """The command that installs PortAudio, by the package manager that is there; Debian's else."""
    commands = {
        "dnf": "sudo dnf install portaudio",
        "pacman": "sudo pacman -S portaudio",
        "apk": "sudo apk add portaudio",
        "zypper": "sudo zypper install libportaudio2",
        "brew": "brew install portaudio",
    }
    return next((command for program, command in commands.items() if shutil.which(program)), INSTALL_PORTAUDIO)


def _distribution(module: str) -> str:
    return {"zmq": "pyzmq"}.get(module, module)


def _pip(arguments: str) -> str:
    return f"{sys.executable} -m pip install {arguments}"


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
