"""What a manifest may say of a model of others, and what contradicts itself."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from earwitness.models.manifest import Constant, Input, Manifest, Output, State, read_manifest, to_toml
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.frontend import FrontEndSpec


def silero(**changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "format_version": 1,
        "name": "vad",
        "description": "speech or not",
        "licence": "MIT",
        "labels": ["speech"],
        "window_frames": 576,
        "hop_frames": 512,
        "front_end": FrontEndSpec(feature="waveform"),
        "input": Input(name="input", shape=[0, 576], axes=("batch", "frames")),
        "output": Output(name="output", ignored=["embedding"]),
        "thresholds": {"speech": 0.5},
        "constants": [Constant(name="sr", dtype="int64", values=[16000])],
        "states": [State(input="state", output="stateN", shape=[2, 128], batch_axis=1)],
    }
    return Manifest(**{**fields, **changes})


def test_constants_and_states_are_written_and_read_back() -> None:
    text = to_toml(silero())
    assert "[[states]]" in text
    assert "[[constants]]" in text
    assert read_manifest(text.encode(), "here") == silero()
    assert silero().check() is None


def test_what_a_model_does_not_have_is_not_written() -> None:
    text = to_toml(silero(constants=[], states=[]))
    assert "states" not in text
    assert "constants" not in text
    assert read_manifest(text.encode(), "here") == silero(constants=[], states=[])


def test_a_model_may_have_no_background_then_every_label_is_an_event() -> None:
    assert silero().background == ""
    assert silero().events == ["speech"]


def test_a_window_of_any_layout_is_one_a_call_where_its_batch_is_1_or_missing() -> None:
    for given, expected in (
        (Input(name="x", shape=[0, 576], axes=("batch", "frames")), False),
        (Input(name="x", shape=[1, 576], axes=("batch", "frames")), True),
        (Input(name="x", shape=[576], axes=("frames",)), True),
    ):
        assert given.one_a_call is expected
        assert silero(input=given).check() is None


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"input": Input(name="x", shape=[0, 576])}, "input.axes has 3 names, input.shape 2 numbers"),
        ({"input": Input(name="x", shape=[0, 512], axes=("batch", "frames"))}, "window and front end give [0, 576]"),
        ({"input": Input(name="x", shape=[4, 576], axes=("batch", "frames"))}, "window and front end give [0, 576]"),
        ({"input": Input(name="x", shape=[0, 0], axes=("batch", "batch"))}, "input.axes names 'batch' twice"),
        ({"input": Input(name="x", shape=[0, 1], axes=("batch", "dims"))}, "'frames' and 'dims' must be among them"),
        ({"input": Input(name="x", shape=[0, 2], axes=("batch", "one"))}, "'frames' and 'dims' must be among them"),
        ({"input": Input(name="x", shape=[0, 576], axes=("batch", "frames"), scale=0.0)}, "input.scale is 0.0"),
        (
            {"input": Input(name="x", shape=[0, 576], axes=("batch", "frames"), offset=float("inf"))},
            "finite numbers",
        ),
        (
            {"front_end": FrontEndSpec(), "input": Input(name="x", shape=[0, 576], axes=("batch", "frames"))},
            "'frames' and 'dims' must be among them",
        ),
        ({"output": Output(name="y", axes=("batch", "one"))}, "'labels' must be among them"),
        ({"output": Output(name="y", axes=("frames", "labels"))}, "both or neither"),
        ({"output": Output(name="y", reduce="mean")}, "both or neither"),
        ({"output": Output(name="y", temperature=float("nan"))}, "output.temperature"),
        ({"output": Output(name="y", activation="softmax"), "multi_label": True}, "multi_label goes with"),
        ({"output": Output(name="y", ignored=["stateN"])}, "output 'stateN' is named twice"),
        ({"constants": [Constant(name="input", values=[1])]}, "input 'input' is named twice"),
        ({"constants": [Constant(name="c", shape=[2, 0], values=[1])]}, "only the first may be 0"),
        ({"constants": [Constant(name="c", shape=[-1], values=[1])]}, "only the first may be 0"),
        ({"constants": [Constant(name="c", shape=[3], values=[1, 2])]}, "has 2 values; one, or 3 for its shape"),
        ({"constants": [Constant(name="c", shape=[1 << 20, 1 << 20], values=[0])]}, "constant 'c'"),
        ({"states": [State(input="s", output="t", shape=[0])]}, "without the batch axis"),
        ({"states": [State(input="s", output="t", shape=[1 << 30, 4])]}, "state 's'"),
        ({"states": [State(input="s", output="t", shape=[4], batch_axis=2)]}, "-1 (none) to 1"),
        ({"states": [State(input="s", output="t", shape=[4], batch_axis=-1)]}, "so the input's batch must be 1"),
        ({"labels": ["speech", ""]}, "label '': it must be a text of one line"),
        ({"labels": ["speech", "a\nb"]}, "it must be a text of one line"),
        ({"background": "noise"}, "background 'noise' is none of the labels"),
        ({"background": "speech"}, "labels must be one or several beside the background"),
        ({"window_frames": 1 << 22, "hop_frames": 1 << 22}, "a window of 4194304 frames"),
    ],
)
def test_what_contradicts_itself_is_told_in_one_line(changes: dict[str, Any], complaint: str) -> None:
    problem = silero(**changes).check()
    assert problem is not None
    assert complaint in problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('axes = ["batch", "frames"]', 'axes = ["batch", "time"]', "Invalid enum value 'time'"),
        ('dtype = "int64"', 'dtype = "object"', "Invalid enum value 'object'"),
        ("batch_axis = 1", "batch_axes = 1", "unknown field `batch_axes`"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(old: str, new: str, complaint: str) -> None:
    text = to_toml(silero())
    assert old in text
    with pytest.raises(EarwitnessError, match=complaint):
        read_manifest(text.replace(old, new, 1).encode(), "here")


def test_manifests_of_the_first_bundles_are_read_as_they_are() -> None:
    """They name neither axes nor scale, nor any of the tables that came later."""
    values = msgspec.to_builtins(silero(states=[], constants=[]))
    for table, keys in {"input": ("axes", "scale", "offset"), "output": ("axes", "reduce", "ignored")}.items():
        for key in keys:
            del values[table][key]
    for key in ("states", "constants", "multi_label"):
        del values[key]
    values["front_end"]["feature"], values["front_end"]["hop_length"] = "log_mel", 160
    values["front_end"] |= {"n_fft": 512, "win_length": 400}
    values["window_frames"] = values["hop_frames"] = 96
    values["input"]["shape"] = [0, 96, 64]
    read = msgspec.convert(values, Manifest)
    assert read.check() is None
    assert read.input.axes == ("batch", "frames", "dims")
