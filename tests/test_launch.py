"""The small commands, as a user calls them: what they print where, and how they end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from earwitness.models.bundle import PRETRAINED, bundle_names

ROOT = Path(__file__).resolve().parent.parent


def earwitness(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "earwitness.launch", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_file_is_a_program_too() -> None:
    done = subprocess.run([sys.executable, ROOT / "launch.py", "--version"], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("earwitness "), done.stderr


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from earwitness import launch\n"
        "try: launch.app(['--help'])\n"
        "except SystemExit: print(sorted({'numpy', 'zmq', 'onnxruntime', 'msgspec'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_the_models_in_the_box_are_listed_with_their_licences() -> None:
    done = earwitness("models", "list")
    assert done.returncode == 0, done.stderr
    assert "esc50-cnn@" in done.stdout
    assert "esc10-cnn@" in done.stdout
    assert done.stdout.count("    Apache-2.0") == len(bundle_names(PRETRAINED))


def test_a_model_is_shown_and_a_misspelt_one_is_named_in_one_line() -> None:
    assert "a decision every 0.25 s" in earwitness("models", "show", "esc10-cnn").stdout
    done = earwitness("models", "show", "esc10-cn")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "earwitness: no model 'esc10-cn': did you mean 'esc10-cnn'?\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "--sorce", "x"), "--source"),
        (("rum",), "run"),
        (("run", "--rate", "fast"), "--rate"),
        (("models", "lst"), "list"),
    ],
)
def test_a_misspelt_command_or_option_is_one_line(arguments: tuple[str, ...], says: str) -> None:
    done = earwitness(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("earwitness: ")
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr


def test_keys_are_made_a_folder_for_each_host_and_never_overwritten(tmp_path: Path) -> None:
    done = earwitness("keys", tmp_path / "keys", "--client", "board")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["board", "broker"]
    again = earwitness("keys", tmp_path / "keys", "--client", "board")
    assert again.returncode == 2
    assert len(again.stderr.splitlines()) == 1


def test_doctor_ends_with_1_where_a_run_would_fail(tmp_path: Path) -> None:
    assert earwitness("doctor", "--out", tmp_path / "out").returncode == 0
    (tmp_path / "file").touch()
    done = earwitness("doctor", "--out", tmp_path / "file" / "out")
    assert done.returncode == 1
    assert "bad  output folder" in done.stdout


def test_devices_are_ids_that_a_run_takes_or_a_hint_where_there_is_none() -> None:
    done = earwitness("devices")
    assert done.returncode in (0, 2), done.stderr  # 2: no PortAudio here, told in one line
    assert all(line.startswith(("mic:", "    ")) for line in done.stdout.splitlines())
    assert done.stdout or len(done.stderr.splitlines()) == 1


def test_features_of_recordings_are_written_in_numbers(tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    samples = np.float32([0.1, np.nan] * 4000)
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", samples, 8000, subtype="FLOAT")
    files = (tmp_path / "a.wav", tmp_path / "b.wav")
    wanted = ("--feature", "mel", "--feature", "rms", "--n-mels", "9")
    done = earwitness("features", *files, "-o", f"{tmp_path}/out/", *wanted)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr == "".join(
        f"earwitness: {name}.wav: 4000 samples are no sound (NaN, Inf): they count as silence\n" for name in "ab"
    )
    for name in ("a", "b"):
        with np.load(tmp_path / "out" / f"{name}.npz") as numbers:
            assert numbers["mel"].shape == (126, 9)


def test_features_are_listed_with_unit_and_meaning() -> None:
    done = earwitness("features", "--list")
    assert done.returncode == 0, done.stderr
    assert any(line.split()[:2] == ["spectral_centroid", "Hz"] for line in done.stdout.splitlines())


def test_a_recording_becomes_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = earwitness("plot", "demo", "-o", tmp_path / "demo.png", "--feature", "waveform", "--rate", "8000")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("features", "no.wav", "-o", "x.npz", "--feature", "mel"), "no such file: no.wav"),
        (("features", __file__, "-o", "x.npz", "--feature", "mel"), "no sound file"),
        (("features", "demo", "-o", "x.npz", "--feature", "mell"), "did you mean 'mel'?"),
        (("features", "demo", "-o", "x.npz", "--feature", "mel", "--hop-length", "0"), "hop_length is 0"),
        (("features", "demo", "-o", "x.npz", "--feature", "mel", "--set", "powr=1"), "did you mean 'power'?"),
        (("features", "demo", "-o", "x.mp3", "--feature", "mel"), "unknown kind of file '.mp3'"),
        (("features", "demo", "-o", "x.csv", "--feature", "stft"), "stft is complex"),
        (("features", "demo"), "--feature NAME"),
        (("features",), "FILE is missing"),
        (("features", "demo", "-o", "", "--feature", "mel"), "-o OUT.npz is missing"),
        (("features", "demo", "-o", "x.npz", "--feature", "RMS"), "did you mean 'rms'?"),
        (("features", "demo", "-o", "x.npz", "--feature", "mel", "--channel", "-1"), "0 mixes all, 1 is the first"),
        (("plot", "no.wav", "-o", "x.png"), "no such file: no.wav"),
        (("plot", "demo", "-o", "x.png", "--feature", "sepctrum"), "did you mean 'spectrum'?"),
        (("plot", "demo", "-o", "x.pdf"), "a picture is a .png"),
        (("plot", "demo"), "--out"),
    ],
)
def test_what_features_and_plot_cannot_do_is_one_line(arguments: tuple[str, ...], says: str) -> None:
    done = earwitness(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("earwitness: ")
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr


def test_wrong_usage_ends_with_2() -> None:
    assert earwitness("lisen").returncode == 2
    assert earwitness("run", "--no-such-option").returncode == 2


@pytest.mark.parametrize("command", ["run", "devices", "doctor", "keys", "models", "features", "plot", "bench"])
def test_every_command_has_a_help(command: str) -> None:
    done = earwitness(command, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
