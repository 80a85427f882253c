"""What is played to a microphone comes out as an event of the right class at the right time, twenty times in a row."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.stream.clock import parse_utc
from earwitness.tests.live.program import Line, Program
from earwitness.tests.live.pulse import Pulse, pulse

__all__ = ["pulse"]

pytestmark = [pytest.mark.device, pytest.mark.data, pytest.mark.slow]

TIMES = 20
ONSET_S = 0.3  # how far off an onset may be
LEAD_S = 0.4  # of silence before each sound
PHASES_S = (0.0, 0.06, 0.12, 0.18)  # more silence: windows are 0.25 s apart, and where they begin is chance when live
STEADY_S = 0.1  # how far the onset of a sound may wander with them
LENGTH_S = 2.2


@pytest.fixture(scope="module")
def clips(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, Path]]:
    """Real recordings, by stream name: the label and a short WAV whose sound begins LEAD_S in."""
    folder = tmp_path_factory.mktemp("clips")
    with (data_root / "esc10" / "meta" / "esc50.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["fold"] == "4"]
    by_label: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_label.setdefault(row["category"], []).append(row)
    found = {}
    for turn in range(5):  # one of each class in turn, so that no class follows itself
        for label, ofclass in by_label.items():
            samples, rate = soundfile.read(data_root / "esc10" / "audio" / ofclass[turn]["filename"], dtype="float32")
            power = np.convolve(samples**2, np.ones(rate // 50) * 50 / rate, "same")
            first = int(np.argmax(power > power.max() * 0.01))
            sound = samples[max(0, first - rate // 50) :][: round(LENGTH_S * rate)]
            sound = 0.5 * sound / np.abs(sound).max()
            name = f"{label}-{turn}"
            path = folder / f"{name}.wav"
            silence = np.zeros(round(LEAD_S * rate), np.float32)
            soundfile.write(path, np.concatenate([silence, sound, silence]), rate, subtype="PCM_16")
            found[name] = (label, path)
    return found


@pytest.fixture(scope="module")
def heard_from_files(
    clips: dict[str, tuple[str, Path]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Line]:
    """The first event of the right class in each file, by stream name, the surest first: what the model says without
    a microphone, of those clips for which it says the same wherever its windows begin.
    """
    folder = tmp_path_factory.mktemp("files")
    first: list[dict[str, Line]] = []
    for phase_s in PHASES_S:
        sources = []
        for name, (_, path) in clips.items():
            samples, rate = soundfile.read(path, dtype="int16")
            soundfile.write(folder / f"{name}.wav", np.pad(samples, (round(phase_s * rate), 0)), rate, subtype="PCM_16")
            sources += ["--source", f"{name}={folder / name}.wav"]
        with Program(*sources, "--pace", "max", "--json", "--no-clips", "--out", folder, cwd=folder) as program:
            assert program.wait() == 0, program.told()
            right = [line for line in program.of("end") if line["label"] == clips[line["stream"]][0]]
        first.append({line["stream"]: line for line in sorted(right, key=lambda line: -line["onset"])})
    steady = {}
    for name in set.intersection(*map(set, first)):
        onsets = [heard[name]["onset"] - phase_s for heard, phase_s in zip(first, PHASES_S, strict=True)]
        if max(onsets) - min(onsets) <= STEADY_S:
            steady[name] = min((heard[name] for heard in first), key=lambda line: line["score"]) | {"onset": onsets[0]}
    return dict(sorted(steady.items(), key=lambda one: -one[1]["score"]))


@pytest.mark.timeout(240)
def test_what_is_played_is_heard_as_what_it_is_when_it_was(
    pulse: Pulse, clips: dict[str, tuple[str, Path]], heard_from_files: dict[str, Line], tmp_path: Path
) -> None:
    known = list(heard_from_files)[:TIMES]
    assert len(known) == TIMES, f"from files the model knows only {len(known)} of {len(clips)} clips"
    with Program(
        "--source", "room=mic:ears", "--json", "--no-clips", "--out", tmp_path, cwd=tmp_path, env=pulse.environment
    ) as program:
        pulse.wait_for_listener()
        for name in sorted(known, key=list(clips).index):
            label, path = clips[name]
            played = pulse.play(path)
            expected = played + heard_from_files[name]["onset"]

            def right(label: str = label, expected: float = expected) -> bool:
                starts = program.of("start", stream="room", label=label)
                return any(abs(parse_utc(line["utc"]) / 1e9 - expected) <= ONSET_S for line in starts)

            program.wait_for(right, 10, f"{name}: no event of {label} at {expected:.2f}")
        program.interrupt()
        assert program.wait() == 0, program.told()
        assert all(line["balanced"] for line in program.of("ledger")), program.told()
        assert not program.of("alarm")
