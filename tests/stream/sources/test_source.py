"""stream/sources/source.py: what `--source` means, and the streams' names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from earwitness.stream.config import SourceSettings
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.sources import network
from earwitness.stream.sources.source import (
    SourceSpec,
    check_name,
    check_source,
    raw_type,
    safe_name,
    source_specs,
)


def specs(*texts: str, **more: object) -> list[SourceSpec]:
    return source_specs(SourceSettings(source=text, **more) for text in texts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "kind", "target", "name"),
    [
        ("mic", "mic", "", "mic"),
        ("mic:usb:0d8c:0014:p=1-2", "mic", "usb:0d8c:0014:p=1-2", "mic-usb-0d8c-0014-p-1-2"),
        ("a/b/Kitchen door.wav", "file", "a/b/Kitchen door.wav", "Kitchen-door"),
        ("file:///tmp/x.flac", "file", "/tmp/x.flac", "x"),
        ("-", "stdin", "", "stdin"),
        ("rtsp://me:secret@cam.local:554/live/one.sdp?x=1", "network",
         "rtsp://me:secret@cam.local:554/live/one.sdp?x=1", "cam.local-one"),
        ("http://radio.example/stream.mp3", "network", "http://radio.example/stream.mp3", "radio.example-stream"),
        ("demo", "demo", "", "demo"),
        ("demo:7", "demo", "7", "demo"),
    ],
)  # fmt: skip
def test_the_text_says_what_to_listen_to(text: str, kind: str, target: str, name: str) -> None:
    (spec,) = specs(text)
    assert (spec.kind, spec.target, spec.name) == (kind, target, name)


def test_a_secret_in_an_address_is_no_part_of_the_streams_name() -> None:
    assert "secret" not in specs("rtsp://me:secret@cam.local/live")[0].name


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("mic:", "earwitness devices"),
        ("rstp://cam/live", "did you mean 'rtsp'?"),
        ("http://", "names no host"),
        ("demo:x", "whole number"),
    ],
)
def test_what_cannot_be_a_source_is_refused_in_one_line(text: str, hint: str) -> None:
    with pytest.raises(EarwitnessError, match=hint) as error:
        specs(text)
    assert "\n" not in str(error.value)


def test_made_up_names_get_numbers_and_given_ones_must_differ() -> None:
    assert [spec.name for spec in specs("a/x.wav", "b/X.wav", "c/x.flac")] == ["x", "X-2", "x-3"]
    named = [SourceSettings(source="a.wav", name="door"), SourceSettings(source="b/door.wav")]
    assert [spec.name for spec in source_specs(named)] == ["door", "door-2"]
    with pytest.raises(EarwitnessError, match="two sources are named 'Door'"):
        source_specs([SourceSettings(source="a.wav", name="door"), SourceSettings(source="b.wav", name="Door")])


def test_a_given_name_wins_over_a_made_up_one_whatever_the_order() -> None:
    settings = [SourceSettings(source="b/door.wav"), SourceSettings(source="a.wav", name="door")]
    assert [spec.name for spec in source_specs(settings)] == ["door-2", "door"]


def test_standard_input_is_only_one_source() -> None:
    with pytest.raises(EarwitnessError, match="given twice"):
        specs("-", "-")


def test_rate_and_type_belong_to_raw_pcm_alone() -> None:
    raw, file = specs("-", "x.wav", rate=8000, channels=2, dtype="float32")
    assert (raw.rate, raw.channels, raw.dtype) == (8000, 2, "float32")
    assert (file.rate, file.channels) == (None, None)


@pytest.mark.parametrize(
    ("text", "kind"), [("S16_LE", "int16"), ("s24le", "int24"), ("f32le", "float32"), ("u8", "uint8")]
)
def test_sample_types_have_the_names_that_other_programs_use(text: str, kind: str) -> None:
    assert raw_type(text) == kind


def test_an_unknown_sample_type_names_the_nearest() -> None:
    with pytest.raises(EarwitnessError, match="did you mean 'int16'"):
        raw_type("int61")


@given(st.text())
def test_any_text_becomes_a_name_that_is_taken(text: str) -> None:
    name = safe_name(text)
    check_name(name)
    assert safe_name(name) == name
    assert 0 < len(name) <= 66


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "con", "NUL.txt", "x" * 65, "ü", "-x", "x."])
def test_names_that_are_no_folder_everywhere_are_refused(name: str) -> None:
    with pytest.raises(EarwitnessError, match="try "):
        check_name(name)


def test_a_check_at_start_finds_what_a_person_has_to_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (good,) = specs("demo")
    assert check_source(good) is None
    (tmp_path / "zero.wav").touch()
    monkeypatch.setattr(network, "find_spec", lambda _: None)
    for spec, words in (
        (specs("demo", channel=2)[0], "no channel 2"),
        (specs("mic:3")[0], "a number is no ID"),
        (specs(str(tmp_path / "zero.wav"))[0], "is empty"),
        (specs("http://radio.example/x")[0], "pip install"),
    ):
        with pytest.raises(EarwitnessError, match=words):
            check_source(spec)


def test_a_check_at_start_warns_of_what_can_be_read_all_the_same(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(1000, np.int16), 8000)
    (tmp_path / "x.wav").write_bytes((tmp_path / "x.wav").read_bytes()[:1000])
    assert "cut off" in (check_source(specs(str(tmp_path / "x.wav"))[0]) or "")
