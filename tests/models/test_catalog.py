"""What is told about bundles."""

from __future__ import annotations

from pathlib import Path

import pytest

from earwitness.models.bundle import Input, Manifest, Network, Output, write_bundle
from earwitness.models.catalog import list_lines, show_lines
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.frontend import FrontEndSpec

LABELS = ["background", "cat", "clock_tick", "dog", "rain", "siren"]


def manifest(name: str) -> Manifest:
    return Manifest(
        format_version=1,
        name=name,
        description="a few sounds",
        licence="CC0-1.0",
        labels=LABELS,
        background="background",
        window_frames=96,
        hop_frames=25,
        front_end=FrontEndSpec(),
        input=Input(name="windows", shape=[0, 96, 64]),
        output=Output(name="logits", activation="softmax"),
        thresholds={label: 0.5 for label in LABELS[1:]},
        network=Network(kind="cnn", parameters=1234),
        scores={"fold 4, clips": 0.925},
    )


def test_each_bundle_is_listed_with_its_tag_and_licence(tmp_path: Path) -> None:
    tags = [write_bundle(tmp_path / name, manifest(name), {"model.onnx": b"net"}).tag for name in ("small", "large")]
    lines = list_lines(tmp_path)
    assert [line.split()[0] for line in lines[::2]] == sorted(tags)
    assert "5 sounds" in lines[0]
    assert lines[1].strip() == "CC0-1.0"


def test_a_bundle_that_was_tampered_with_is_refused_not_listed(tmp_path: Path) -> None:
    write_bundle(tmp_path / "small", manifest("small"), {"model.onnx": b"net"})
    (tmp_path / "small" / "model.onnx").write_bytes(b"ten")
    with pytest.raises(EarwitnessError, match=r"model\.onnx was changed"):
        list_lines(tmp_path)


def test_one_bundle_is_shown_with_window_licence_scores_and_every_threshold(tmp_path: Path) -> None:
    files = {"model.onnx": b"net", "CREDITS.txt": b"a\nb\n"}
    text = "\n".join(show_lines(write_bundle(tmp_path / "small", manifest("small"), files)))
    for part in ("licence     CC0-1.0", "0.96 s, a decision every 0.25 s", "1234 parameters", "fold 4, clips: 0.925"):
        assert part in text
    for label in LABELS[1:]:
        assert f"{label} 0.50" in text
    assert "(2 lines)" in text
