"""The parts of the measurements that can be held to a known answer; what they measure is for docs/benchmarks.md."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
import soundfile

from earwitness.stream import bench
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.messages import ScoreBlock


def test_each_window_of_a_message_has_its_own_wait_for_the_block_and_the_stages_add_up() -> None:
    scores = ScoreBlock(
        stream="s", epoch=1, model="m@0", first_sample=0, end_sample=15840, rate=16000, segment_sample=0,
        first_window=0, spans=((0, 15000), (400, 15840)), classes=2, top=(),
        heard_sample=16000, heard_ns=0, computed_ns=2_000_000, scored_ns=5_000_000,
    )  # fmt: skip
    delays_ms: dict[str, list[float]] = defaultdict(list)
    bench._note_delays(scores, 6_000_000, delays_ms)
    assert delays_ms["block"] == [62.5, 10.0]
    assert (delays_ms["features"], delays_ms["classify"], delays_ms["deliver"]) == ([2, 2], [3, 3], [1, 1])
    assert delays_ms["all"] == [68.5, 16.0]


def test_the_sound_has_the_asked_length(tmp_path: Path) -> None:
    info = soundfile.info(bench.write_sound(tmp_path / "a.wav", 45.5))
    assert info.duration == 45.5


def test_a_page_is_rewritten_between_its_marks_and_nowhere_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Head\n{bench.BEGIN}\nold\n{bench.END}\ntail\n")
    bench.write_page(page, ["new"])
    bench.write_page(page, ["newer"])
    assert page.read_text() == f"# Head\n{bench.BEGIN}\n\nnewer\n{bench.END}\ntail\n"


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("# Head\n")
    with pytest.raises(EarwitnessError, match="to write between"):
        bench.write_page(tmp_path / "page.md", ["new"])


def test_the_machine_is_named_by_processor_cores_and_versions() -> None:
    assert " cores, " in bench.machine()
    assert "onnxruntime " in bench.machine()
