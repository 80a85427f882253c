"""What a person can mend: one clear line and exit 2 at the start, an alarm where it runs already."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.models.bundle import PRETRAINED
from earwitness.stream.sources.demo import RATE, make_scene
from earwitness.tests.live.conftest import Start
from earwitness.tests.live.program import Program


def assert_one_line(program: Program, *says: str) -> None:
    assert program.wait() == 2, program.told()
    for text in says:
        assert text in program.errors[-1], program.told()
    assert not any("Traceback" in line for line in program.errors), program.told()
    assert not program.of("start"), program.told()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--source", "nothing-here.wav"), "no such file"),
        (("--source", "."), "folder"),
        (("--source", "demo", "--model", "esc50-cmn"), "did you mean 'esc50-cnn'?"),
        (("--source", "demo", "--only", "clasify"), "did you mean 'classify'?"),
        (("--source", "demo", "--pace", "fast"), "pace"),
        (("--source", "demo", "--device", "gpu"), "device"),
        (("--source", "demo", "--bus", "tcp://127.0.0.1:7400"), "keys"),
        (("--source", "demo", "--block", "7"), "block_s"),
        (("--source", "a=demo", "--source", "a=demo"), "'a'"),
        (("--source", "rtps://camera/1"), "did you mean 'rtsp"),
        (("--source", "mic:"), "mic:"),
        (("--source", "-", "--dtype", "in16"), "int16"),
        (("--rate", "8000"), "--source"),
    ],
)
def test_a_typo_is_one_line(start: Start, args: tuple[str, ...], says: str) -> None:
    assert_one_line(start(*args), says)


def not_audio(path: Path) -> None:
    path.write_text("This is a letter, no sound.\n" * 100)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(("make", "says"), [(not_audio, "sound.wav"), (empty, "sound.wav")])
def test_a_file_without_sound_is_one_line(
    start: Start, tmp_path: Path, make: Callable[[Path], None], says: str
) -> None:
    make(tmp_path / "sound.wav")
    assert_one_line(start("--source", "sound.wav"), says)


def test_a_truncated_file_is_heard_as_far_as_it_goes_and_says_so(start: Start, tmp_path: Path) -> None:
    whole = tmp_path / "whole.flac"
    soundfile.write(whole, make_scene().samples[: 10 * RATE], RATE)
    (tmp_path / "cut.flac").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    program = start("--source", "cut.flac", "--pace", "max")
    assert program.wait() == 0, program.told()
    (line,) = program.of("ledger")
    assert line["balanced"]
    assert line["samples"] == 10 * RATE
    assert line["lost"]["cut off"] > 3 * RATE
    assert any("cut.flac" in error for error in program.errors)


def test_samples_that_are_no_numbers_are_silence_and_the_rest_is_heard(start: Start, tmp_path: Path) -> None:
    samples = make_scene().samples[: 10 * RATE].astype(np.float32) / 32768
    samples[[100, 5000, 6 * RATE]] = np.nan, np.inf, -np.inf
    soundfile.write(tmp_path / "nan.wav", samples, RATE, subtype="FLOAT")
    program = start("--source", "nan.wav", "--pace", "max")
    assert program.wait() == 0, program.told()
    assert program.of("start")
    assert all(line["balanced"] for line in program.of("ledger"))


def test_a_second_run_on_the_same_folder_names_the_first(start: Start, scene: Path) -> None:
    first = start("--source", f"s={scene}")
    first.wait_for(lambda: "recorder" in first.nodes() and "capture" in first.nodes(), what="the first did not start")
    second = start("--source", f"s={scene}")
    assert_one_line(second, "out", "another")
    assert first.process.poll() is None
    first.interrupt()
    assert first.wait(6) == 0, first.told()


def test_a_tampered_bundle_is_refused(start: Start, tmp_path: Path) -> None:
    shutil.copytree(PRETRAINED / "esc10-cnn", tmp_path / "mine")
    weights = max((tmp_path / "mine").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    assert_one_line(start("--source", "demo", "--model", "mine"), "changed", weights.name)


def test_a_bundle_of_another_front_end_is_refused(start: Start, tmp_path: Path) -> None:
    shutil.copytree(PRETRAINED / "esc10-cnn", tmp_path / "mine")
    manifest = tmp_path / "mine" / "manifest.toml"
    text = manifest.read_text()
    assert "n_mels = 64" in text
    manifest.write_text(text.replace("n_mels = 64", "n_mels = 40"))
    assert_one_line(start("--source", "demo", "--model", "mine"), "mine")


def test_an_unknown_key_names_the_nearest(start: Start, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[recorder]\npre_rol_s = 2\n")
    program = start("--source", "demo", "--config", "c.toml")
    assert_one_line(program, "recorder.", "pre_rol_s", "did you mean 'pre_roll_s'?")


def test_a_clip_folder_that_cannot_be_written_is_one_line(start: Start, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where a folder should be")
    assert_one_line(start("--source", "demo"), "out")


def test_a_read_only_clip_folder_is_one_line(tmp_path: Path) -> None:
    with Program("--json", "--source", "demo", "--out", "/sys/earwitness", cwd=tmp_path) as program:
        assert_one_line(program, "/sys/earwitness")


def test_a_microphone_that_is_not_there_is_waited_for_with_an_alarm(start: Start) -> None:
    program = start("--source", "mic:usb:dead:beef:s=1")
    alarm = program.wait_for(lambda: program.of("alarm"), what="no alarm")[0]
    assert "usb:dead:beef" in alarm["text"], program.told()
    assert program.process.poll() is None
    program.process.send_signal(signal.SIGTERM)
    assert program.wait(6) == 0, program.told()


def test_an_address_that_never_answers_is_waited_for_with_an_alarm(start: Start, scene: Path) -> None:
    pytest.importorskip("av")
    program = start("--source", "cam=http://127.0.0.1:9/never", "--source", f"s={scene}")
    program.wait_for(lambda: program.of("alarm", stream="cam"), what="no alarm")
    program.wait_for(lambda: program.of("start", stream="s"), what="the other stream is not heard")
    program.interrupt()
    assert program.wait(6) == 0, program.told()
    assert all(line["balanced"] for line in program.of("ledger")), program.told()
