"""What a run is told: file, environment and options in that order, and every mistake named where it was made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from earwitness.stream.config import Config, ModelSettings, SourceSettings, load_config, parse_source
from earwitness.stream.errors import EarwitnessError


def load(
    toml: str = "", options: dict[str, Any] | None = None, folder: Path | None = None, **environment: str
) -> Config:
    path = None
    if folder is not None:
        path = folder / "ears.toml"
        path.write_text(toml)
    return load_config(path, options or {}, {f"EARWITNESS_{name}": value for name, value in environment.items()})


def complaint(*arguments: Any, **environment: Any) -> str:
    with pytest.raises(EarwitnessError) as caught:
        load(*arguments, **environment)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nothing_given_is_a_run_with_the_default_model() -> None:
    config = load()
    assert config == Config()
    assert config.model_settings == (ModelSettings(bundle="esc50-cnn"),)


def test_every_key_can_be_written_as_toml(tmp_path: Path) -> None:
    config = load(
        """
        sources = ["kitchen=mic", {source = "door.wav", name = "door", channel = 1}]
        models = ["esc10-cnn", {bundle = "./mine", thresholds = {dog = 0.8}}]
        pace = "max"
        ring_s = 20
        workers = 4
        [bus]
        address = "tcp://server:5550"
        [supervisor]
        failures = 3
        """,
        folder=tmp_path,
    )
    assert config.source_settings == (
        SourceSettings(source="mic", name="kitchen"),
        SourceSettings(source="door.wav", name="door", channel=1),
    )
    assert config.model_settings[1].thresholds == {"dog": 0.8}
    assert (config.pace, config.ring_s, config.bus.address) == ("max", 20.0, "tcp://server:5550")
    assert config.workers == 4
    assert (config.supervisor.failures, config.supervisor.hang_s) == (3, 5.0)


def test_what_was_loaded_travels_to_the_nodes_unchanged(tmp_path: Path) -> None:
    config = load("sources = ['mic', {source = 'a.wav', channel = 2}]\n[bus]\nkeys = 'k'", folder=tmp_path)
    assert msgspec.json.decode(msgspec.json.encode(config), type=Config) == config


def test_options_go_over_variables_and_these_over_the_file(tmp_path: Path) -> None:
    toml = "out = 'file'\ndevice = 'cpu'\npace = 'max'\n[bus]\naddress = 'ipc:///file'\nkeys = 'file'"
    options = {"out": "option", "ring_s": None, "bus.address": "ipc:///option"}
    config = load(toml, options, tmp_path, OUT="variable", DEVICE="cuda", BUS__ADDRESS="ipc:///variable")
    assert (config.out, config.device, config.pace, config.ring_s) == ("option", "cuda", "max", 10.0)
    assert (config.bus.address, config.bus.keys) == ("ipc:///option", "file")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("OUT", "2026", "2026"),
        ("OUT", "true", "true"),
        ("OUT", "a b", "a b"),
        ("CLIPS", "false", False),
        ("RING_S", "3", 3.0),
        ("ONLY", "capture,features", ("capture", "features")),
        ("ONLY", "capture", ("capture",)),
        ("ONLY", '["capture"]', ("capture",)),
        ("SOURCES", "kitchen=mic, demo", ("kitchen=mic", "demo")),
        ("SOURCES", '[{source = "mic", channel = 1}]', (SourceSettings(source="mic", channel=1),)),
    ],
)
def test_a_variable_means_what_its_key_can_take(name: str, text: str, expected: Any) -> None:
    assert getattr(load(**{name: text}), name.lower()) == expected


def test_variables_of_others_are_left_alone() -> None:
    assert load_config(None, {}, {"EARWITNESS_DATA": "/data", "OUT": "x", "PATH": "y"}) == Config()


UNKNOWN = [
    ("soruces", "'soruces': did you mean 'sources'?"),
    ("bus.adress", "'bus.adress': did you mean 'address'?"),
    ("supervisor.failure", "'supervisor.failure': did you mean 'failures'?"),
    ("recorder.quota", "'recorder.quota': did you mean 'quota_bytes'?"),
    ("detect.smothing", "'smothing'"),
]


@pytest.mark.parametrize(("key", "words"), UNKNOWN)
def test_an_unknown_key_is_refused_with_the_nearest_wherever_it_stands(key: str, words: str, tmp_path: Path) -> None:
    variable = key.upper().replace(".", "__")
    for where, said in (
        (f"config {tmp_path}/ears.toml", complaint(f"{key} = 1", folder=tmp_path)),
        (f"EARWITNESS_{variable}", complaint(**{variable: "1"})),
        (f"option {key}", complaint(options={key: 1})),
    ):
        assert said.startswith(f"{where}: ")
        assert "unknown key " in said
        assert words in said


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[[sources]]\nsource = 'mic'\nnaem = 'x'", "unknown key 'sources[0].naem': did you mean 'name'?"),
        ("sources = ['mic', {source = 'mic', chanel = 1}]", "'sources[1].chanel': did you mean 'channel'?"),
        ("[[models]]\nbundel = 'x'", "unknown key 'models[0].bundel': did you mean 'bundle'?"),
        ("wrong = 1", "unknown key 'wrong': valid: 'block_s', 'bus', "),
        ("pace = 'maxx'", "pace is 'maxx': valid: 'max', 'real'"),
        ("device = 'gpu'", "device is 'gpu': valid: 'auto', 'cpu', 'cuda'"),
        ("ring_s = 'x'", "ring_s: expected float, got str"),
        ("bus = 3", "bus: expected table, got int"),
        ("[bus]\naddress = 3", "bus.address: expected str, got int"),
        ("sources = 3", "sources: expected array, got int"),
        ("sources = [3]", "sources[0]: expected str | table, got int"),
        ("[[sources]]\nname = 'x'", "sources[0]: table missing required field source"),
        ("ring_s = 0.5", "ring_s is 0.5: 1 to 600 s"),
        ("ring_s = nan", "ring_s is nan"),
        ("level_period_s = 0.5", "level_period_s is 0.5: 1 to 3600 s"),
        ("level_period_s = nan", "level_period_s is nan"),
        ("sources = [{source = 'mic', calibration_db = -26.0}]", "calibration_db -26: 0 to 250 dB"),
        ("sources = [{source = 'mic', calibration_db = nan}]", "calibration_db nan"),
        ("workers = 0", "workers is 0: 1 to 64 processes for features"),
        ("block_s = 2", "block_s is 2.0"),
        ("only = ['captrue']", "only: there is no node 'captrue': did you mean 'capture'?"),
        ("sources = [{source = ''}]", "a source is empty"),
        ("sources = [{source = 'mic', name = 'a/b'}]", "stream name 'a/b'"),
        ("sources = [{source = 'mic', channel = -1}]", "channel -1"),
        ("sources = [{source = '-', rate = 0}]", "rate 0 Hz"),
        ("sources = [{source = '-', channels = 0}]", "channels 0"),
        ("models = [{thresholds = {dog = 1.5}}]", "threshold of 'dog' is 1.5"),
        ("models = [{thresholds = {dog = nan}}]", "threshold of 'dog' is nan"),
        ("[supervisor]\nhang_s = 0.1", "supervisor.hang_s is 0.1"),
        ("[supervisor]\nfailures = 0", "supervisor.failures is 0"),
        ("a = [", "Invalid value"),
        ("out = 'a'\nout = 'b'", "Cannot overwrite a value"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_one_line_with_the_file(toml: str, words: str, tmp_path: Path) -> None:
    said = complaint(toml, folder=tmp_path)
    assert said.startswith(f"config {tmp_path}/ears.toml: ")
    assert words in said


def test_what_is_wrong_in_a_variable_or_an_option_is_named() -> None:
    assert complaint(RING_S="0.1") == "EARWITNESS_RING_S: ring_s is 0.1: 1 to 600 s"
    assert complaint(CLIPS="nope") == "EARWITNESS_CLIPS: clips: expected bool, got str"
    assert complaint(BUS="x").startswith("EARWITNESS_BUS: bus: expected table")
    assert complaint(OUT__DEEPER="x").startswith("EARWITNESS_OUT__DEEPER: out: expected str")
    assert complaint(options={"pace": "slow"}) == "option pace: pace is 'slow': valid: 'max', 'real'"
    assert complaint(options={"out": "x", "out.deeper": "y"}) == "option out.deeper: 'out' holds no keys"


def test_what_is_valid_together_need_not_be_so_one_by_one() -> None:
    """An intermediate state that would be refused is none of the user's business."""
    options = {"recorder.pre_roll_s": 60.0, "recorder.max_clip_s": 100.0, "recorder.history_s": 120.0}
    config = load(options=options)
    assert (config.recorder.pre_roll_s, config.recorder.history_s) == (60.0, 120.0)
    variables = {key.upper().replace(".", "__"): str(value) for key, value in options.items()}
    assert load(**variables).recorder == config.recorder
    said = complaint(options={"recorder.pre_roll_s": 60.0, "out": "x"})
    assert said.startswith("option recorder.pre_roll_s: recorder.max_clip_s = 30: must exceed")


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    def said(path: Path) -> str:
        with pytest.raises(EarwitnessError) as caught:
            load_config(path, {}, {})
        return str(caught.value)

    assert said(tmp_path / "none.toml") == f"config {tmp_path}/none.toml: no such file or directory"
    assert said(tmp_path) == f"config {tmp_path}: is a directory"
    (tmp_path / "latin.toml").write_bytes(b"out = '\xff'")
    assert "can't decode" in said(tmp_path / "latin.toml")


@pytest.mark.parametrize(
    ("text", "source", "name"),
    [
        ("mic", "mic", ""),
        ("kitchen=mic:usb:1234", "mic:usb:1234", "kitchen"),
        ("cam=rtsp://host/path?a=b", "rtsp://host/path?a=b", "cam"),
        ("rtsp://host/path?a=b", "rtsp://host/path?a=b", ""),
        ("./a=b.wav", "./a=b.wav", ""),
        ("-", "-", ""),
        ("x=", "x=", ""),
        ("=x", "=x", ""),
    ],
)
def test_a_source_may_have_a_name_before_it(text: str, source: str, name: str) -> None:
    assert parse_source(text) == SourceSettings(source=source, name=name)


def test_a_file_whose_own_name_has_an_equals_sign_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.wav").touch()
    assert parse_source("a=b.wav") == SourceSettings(source="a=b.wav")
