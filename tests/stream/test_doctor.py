"""What doctor says about machines that lack something."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from earwitness.stream import doctor
from earwitness.stream.sources.devices import DeviceInfo


def test_this_machine_runs_the_tests_so_nothing_here_is_bad(tmp_path: Path) -> None:
    findings = doctor.diagnose(tmp_path / "out")
    assert not [finding for finding in findings if finding.level == "bad"]
    assert not (tmp_path / "out").exists(), "doctor changes nothing"


def test_every_finding_is_one_line_and_one_command() -> None:
    finding = doctor.Finding("warn", "no microphone", "plug one in")
    assert str(finding).splitlines() == ["warn no microphone", "     mend: plug one in"]
    assert all(len(str(each).splitlines()) <= 2 for each in doctor.diagnose(Path("out")))


def test_an_old_python_is_bad() -> None:
    assert doctor.check_python((3, 10, 4)).level == "bad"
    assert doctor.check_python((3, 11, 0)).level == "ok"


def test_a_library_that_does_not_load_is_named_with_the_command_that_installs_it() -> None:
    (finding,) = doctor.check_libraries(["msgspec", "no_such_library"])
    assert finding.level == "bad"
    assert "no_such_library" in finding.what
    assert finding.mend.startswith(sys.executable)


def test_a_missing_portaudio_costs_the_microphone_and_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)  # its import fails as it does where the library is missing
    monkeypatch.setattr(doctor.shutil, "which", lambda program: None)
    finding = doctor.check_portaudio()
    assert finding.level == "warn"
    assert finding.mend == "sudo apt install libportaudio2"
    monkeypatch.setattr(doctor.shutil, "which", lambda program: program if program == "dnf" else None)
    assert doctor.check_portaudio().mend == "sudo dnf install portaudio"


def test_microphones_are_listed_by_what_the_run_takes(tmp_path: Path) -> None:
    camera = DeviceInfo(
        id="usb:046d:0825:s=7", name="C270", host_api="ALSA", channels=1, default_rate=48000, is_default=True, index=3
    )
    finding = doctor.check_microphones(tmp_path, lambda: [camera])
    assert finding == doctor.Finding("ok", "microphones: mic:usb:046d:0825:s=7 (the default)")


def test_a_microphone_that_may_not_be_opened_names_the_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "plug one in" in doctor.check_microphones(tmp_path, list).what
    (tmp_path / "pcmC0D0c").touch()
    (tmp_path / "pcmC0D0p").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    finding = doctor.check_microphones(tmp_path, list)
    assert "pcmC0D0c in" in finding.what
    assert "usermod -aG audio" in finding.mend


def test_a_sound_server_is_found_by_its_socket(tmp_path: Path) -> None:
    assert "no sound server" in doctor.check_sound_server({"XDG_RUNTIME_DIR": str(tmp_path)}).what
    (tmp_path / "pipewire-0").touch()
    assert "PipeWire" in doctor.check_sound_server({"XDG_RUNTIME_DIR": str(tmp_path)}).what


def test_an_output_folder_that_is_a_file_or_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    assert doctor.check_folder(tmp_path / "file" / "out").level == "bad"
    assert doctor.check_folder(tmp_path / "new" / "out").level == "ok"
    monkeypatch.setattr(doctor, "FREE_BYTES", 1 << 62)
    assert doctor.check_folder(tmp_path / "new" / "out").level == "warn"


def test_a_folder_too_long_for_a_socket_is_bad(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    assert doctor.check_socket_folder(deep).level == "bad"


def test_few_open_files_are_told_with_the_command() -> None:
    assert doctor.check_open_files(256).mend == f"ulimit -n {doctor.OPEN_FILES}"
    assert doctor.check_open_files(4096).level == "ok"


def test_a_kernel_that_was_not_compiled_is_told_with_the_command_that_mends_it() -> None:
    assert doctor.check_kernel().level == "ok"
    missing = doctor.check_kernel("earwitness.stream.features._nothing")
    assert missing.level == "warn"
    assert "gcc" in missing.mend
