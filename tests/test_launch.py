"""The small commands, as a user calls them: what they print where, and how they end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
    assert done.stdout.count("    Apache-2.0") == 2


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


def test_wrong_usage_ends_with_2() -> None:
    assert earwitness("lisen").returncode == 2
    assert earwitness("run", "--no-such-option").returncode == 2


@pytest.mark.parametrize("command", ["run", "devices", "doctor", "keys", "models", "bench"])
def test_every_command_has_a_help(command: str) -> None:
    done = earwitness(command, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
