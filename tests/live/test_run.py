"""The whole program on files: the same events at any pace and in any company, and a ledger that proves it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import soundfile

from earwitness.stream.sources.demo import RATE, make_scene
from earwitness.tests.live.conftest import Start
from earwitness.tests.live.program import Program, essence


def ledgers(program: Program) -> list[dict]:
    lines = program.of("ledger")
    assert lines, program.told()
    return lines


def assert_balanced(program: Program) -> None:
    assert all(line["balanced"] for line in ledgers(program)), program.told()


def test_a_file_becomes_events_clips_and_a_balanced_ledger(start: Start, scene: Path, tmp_path: Path) -> None:
    program = start("--source", f"hall={scene}", "--pace", "max")
    assert program.wait() == 0, program.told()
    starts, ends = program.of("start"), program.of("end")
    assert starts, program.told()
    assert {line["id"] for line in starts} == {line["id"] for line in ends}
    assert_balanced(program)
    (line,) = ledgers(program)
    assert line["samples"] == 10 * RATE
    assert all(place["lost"] == {} for place in line["places"].values())
    clips = sorted((tmp_path / "out" / "clips" / "hall").rglob("*.flac"))
    assert len(clips) == len(starts)
    for clip in clips:
        samples, rate = soundfile.read(clip)
        assert rate == RATE
        assert len(samples)
        assert json.loads(clip.with_suffix(".json").read_text())["label"] in clip.name
    with (tmp_path / "out" / "clips" / "metadata.csv").open(newline="") as table:
        assert len(list(csv.DictReader(table))) == len(clips)


def test_pace_and_block_size_change_nothing(start: Start, scene: Path) -> None:
    real = start("--source", f"s={scene}", "--no-clips", out="a")
    fast = [
        start("--source", f"s={scene}", "--pace", "max", "--block", block, "--no-clips", out=block)
        for block in ("0.013", "0.5")
    ]
    events = []
    for program in [*fast, real]:
        assert program.wait() == 0, program.told()
        assert_balanced(program)
        events.append(essence(program.lines))
    assert events[0] == events[1] == events[2]
    assert events[0]


def test_twenty_files_at_once_give_the_events_of_one_by_one(start: Start, tmp_path: Path) -> None:
    for number in range(20):
        samples = make_scene(number).samples[: 6 * RATE]
        soundfile.write(tmp_path / f"f{number}.wav", samples, RATE, subtype="PCM_16")
    sources = [word for number in range(20) for word in ("--source", tmp_path / f"f{number}.wav")]
    together = start(*sources, "--pace", "max", "--no-clips", out="together")
    assert together.wait() == 0, together.told()
    assert_balanced(together)
    assert len(ledgers(together)) == 20
    for number in (0, 7, 19):
        alone = start("--source", tmp_path / f"f{number}.wav", "--pace", "max", "--no-clips", out=f"alone{number}")
        assert alone.wait() == 0, alone.told()
        assert essence(alone.lines) == [each for each in essence(together.lines) if each[0] == f"f{number}"]


def test_ctrl_c_ends_cleanly_within_five_seconds_and_keeps_what_was_heard(start: Start, scene: Path) -> None:
    program = start("--source", f"s={scene}")
    program.wait_for(lambda: program.of("start"), what="no event")
    program.interrupt()
    assert program.wait(5.5) == 0, program.told()
    assert_balanced(program)
    assert {line["id"] for line in program.of("start")} == {line["id"] for line in program.of("end")}
    assert {line["id"] for line in program.of("clip")} == {line["id"] for line in program.of("start")}


def test_standard_input_is_a_source(start: Start, tmp_path: Path) -> None:
    raw = tmp_path / "sound.raw"
    raw.write_bytes(make_scene().samples[: 8 * RATE].astype("<i2").tobytes())
    with raw.open("rb") as stdin:
        program = start("--source", "-", "--rate", str(RATE), "--pace", "max", stdin=stdin.fileno())
        assert program.wait() == 0, program.told()
    assert_balanced(program)
    assert ledgers(program)[0]["samples"] == 8 * RATE


def test_no_node_of_a_live_cpu_pipeline_loads_torch_or_librosa(start: Start, scene: Path) -> None:
    program = start("--source", f"s={scene}")
    program.wait_for(lambda: program.of("start"), what="no event")
    for name, pid in program.nodes().items():
        maps = Path(f"/proc/{pid}/maps").read_text()
        assert "site-packages/torch/" not in maps, name
        assert "site-packages/librosa/" not in maps, name
        assert "site-packages/scipy/" not in maps, name


def test_the_demo_is_told_beside_its_truth(start: Start) -> None:
    program = start("--source", "demo", "--pace", "max")
    assert program.wait() == 0, program.told()
    truth = program.of("truth")
    assert sum(line["result"] != "extra" for line in truth) == len(make_scene().truth)
    assert sum(line["result"] == "heard" for line in truth) >= len(make_scene().truth) - 1, program.told()
