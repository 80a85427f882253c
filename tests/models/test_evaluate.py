"""A bundle hears a data set as it would live: what is judged, what is left out, and what is said about it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

pytest.importorskip("sklearn", reason="figures are counted by scikit-learn (extra train)")
pytest.importorskip("onnx", reason="the test's models are made with onnx (extra train)")

from earwitness.launch import app
from earwitness.models.bundle import Bundle, Input, Output, State, write_bundle
from earwitness.models.data.background import Background
from earwitness.models.data.clip import Clip, Dataset
from earwitness.models.data.datasets import open_dataset
from earwitness.models.evaluate import Judgement, evaluate_bundle, false_alarms, hear, listen
from earwitness.models.judging.command import Request, answer, parse_folds
from earwitness.models.runtime import open_runtime
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.frontend import FrontEndSpec

from .conftest import manifest
from .foreign_models import onnx_file
from .hearers import LABELS, hearer, trained_on
from .scene import SR, tone, write_data


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return hearer(tmp_path_factory.mktemp("bundles"))


def test_tones_are_named_and_their_events_heard(bundle: Bundle, tones: Path) -> None:
    judgement = evaluate_bundle(bundle, "tones", tones)
    assert (judgement.folds, judgement.clips, judgement.recordings) == ([1, 2, 3, 4], 24, 24)
    assert judgement.accuracy == judgement.macro_f1 == judgement.mean_average_precision == judgement.heard == 1.0
    assert judgement.misheard == 0.0
    assert judgement.window_accuracy < 1.0  # silence follows each tone
    assert sum(result.correct for result in judgement.classes.values()) == 24
    assert judgement.notes == judgement.unreadable == []


def test_only_the_folds_and_licences_asked_for_are_judged(bundle: Bundle, tones: Path) -> None:
    assert evaluate_bundle(bundle, "tones", tones, (4,)).clips == 6
    assert evaluate_bundle(bundle, "tones", tones, (1,), ("CC0",)).clips == 3
    with pytest.raises(EarwitnessError, match="tones has no fold '7'"):
        evaluate_bundle(bundle, "tones", tones, (7,))


def test_without_folds_those_are_judged_that_it_was_not_trained_on(tmp_path: Path, tones: Path) -> None:
    assert evaluate_bundle(hearer(tmp_path, training=trained_on("tones, some", 1, 2, 3)), "tones", tones).folds == [4]
    trained = hearer(tmp_path, training=trained_on("tones", 1, 2, 3, 4))
    judgement = evaluate_bundle(trained, "tones", tones)
    assert judgement.folds == [1, 2, 3, 4]
    assert "24 of the 24 clips are of recordings that hearer was trained on" in judgement.notes[0]


def test_recordings_that_other_data_was_trained_on_with_are_told(tmp_path: Path) -> None:
    root = write_data(tmp_path / "data", clips_per_fold=1)
    (root / "tones").rename(root / "esc50")
    write_data(tmp_path / "more", clips_per_fold=1)
    (tmp_path / "more" / "tones").rename(root / "tones")  # the same recordings under another name
    trained = hearer(tmp_path, training=trained_on("esc50", 1, 2))
    (note,) = evaluate_bundle(trained, "tones", root).notes
    assert note.startswith("6 of the 12 clips")
    unknown = hearer(tmp_path, training=trained_on("elsewhere", 1, 2))
    assert evaluate_bundle(unknown, "tones", root).notes == []


def test_folds_of_data_that_has_none_are_refused(bundle: Bundle, tones: Path) -> None:
    whole = open_dataset("tones", tones)
    one = Dataset("one", whole.folder, whole.choose((1,)), "all of it is judged")
    with pytest.raises(EarwitnessError, match=r"^one has no folds: leave --folds out$"):
        hear(bundle, one, tones, (1,))
    assert len(hear(bundle, one, tones).clips) == 6


def test_a_broken_clip_is_reported_and_one_without_a_window_is_wrong(bundle: Bundle, tmp_path: Path) -> None:
    root = write_data(tmp_path / "data", clips_per_fold=1)
    audio = root / "tones" / "audio"
    broken = next(audio.glob("4-*-0.wav"))
    broken.write_bytes(b"not a sound")
    soundfile.write(next(audio.glob("4-*-1.wav")), np.zeros(10), SR)  # shorter than a frame
    judgement = evaluate_bundle(bundle, "tones", root, (4,))
    assert (judgement.clips, judgement.accuracy) == (2, 0.5)
    (line,) = judgement.unreadable
    assert broken.name in line
    assert judgement.classes["middle"].taken_for == {"nothing: too short": 1}


def test_nothing_but_broken_clips_is_one_line(bundle: Bundle, tmp_path: Path) -> None:
    root = write_data(tmp_path / "data", clips_per_fold=1)
    for path in (root / "tones" / "audio").iterdir():
        path.write_bytes(b"not a sound")
    with pytest.raises(EarwitnessError, match="none of the 12 clips of tones can be read"):
        evaluate_bundle(bundle, "tones", root)


def test_labels_that_the_model_does_not_know_are_told_with_the_nearest(tmp_path: Path, tones: Path) -> None:
    judgement = evaluate_bundle(hearer(tmp_path, ["higher", "low", "middle", "background"]), "tones", tones)
    assert (judgement.skipped, judgement.clips) == (8, 16)
    assert judgement.unknown == {"high": "did you mean 'higher'?"}
    with pytest.raises(EarwitnessError, match=r"knows none of the classes of tones.*--label-map"):
        evaluate_bundle(hearer(tmp_path, ["a", "b", "c", "background"]), "tones", tones)
    with pytest.raises(EarwitnessError, match="no data set 'esc50'"):
        evaluate_bundle(hearer(tmp_path), "esc50", tones)


def test_a_label_map_lets_a_model_of_other_names_be_judged(tmp_path: Path, tones: Path) -> None:
    other = hearer(tmp_path, ["Whistle", "Hum", "Horn", "background"])
    path = tmp_path / "names.toml"
    path.write_text('[labels]\nhigh = ["Whistle"]\nlow = ["Hum"]\nmiddle = ["Horn"]\n')
    judgement = evaluate_bundle(other, "tones", tones, label_map=str(path))
    assert (judgement.label_map, judgement.accuracy, judgement.heard) == ("names", 1.0, 1.0)
    path.write_text('[labels]\nhigh = ["Whistel"]\n')
    with pytest.raises(EarwitnessError, match="the model knows no 'Whistel'; did you mean 'Whistle'"):
        evaluate_bundle(other, "tones", tones, label_map=str(path))


def test_a_map_in_the_box_for_model_and_data_is_taken_without_being_asked_for(
    tmp_path: Path, tones: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hearer-tones.toml").write_text('[labels]\nhigh = ["a"]\nlow = ["b"]\n')
    monkeypatch.setattr("earwitness.models.judging.label_map.FOLDER", tmp_path)
    judgement = evaluate_bundle(hearer(tmp_path, ["a", "b", "c", "background"]), "tones", tones)
    assert (judgement.label_map, judgement.clips, judgement.accuracy) == ("hearer-tones", 16, 1.0)


def test_clips_of_background_are_a_class_where_data_has_them(tmp_path: Path, bundle: Bundle) -> None:
    rng = np.random.default_rng(0)
    clips = []
    for number, label in enumerate(["high", "low", "middle", "background"]):
        path = tmp_path / f"{label}.wav"
        sound = tone(rng, label)[:SR] if label != "background" else np.zeros(SR, np.float32)
        soundfile.write(path, sound, SR)
        clips.append(Clip(path, label, 1, f"{number}"))
    heard = hear(bundle, Dataset("mixed", tmp_path, tuple(clips), "made"))
    assert heard.labels == LABELS
    assert len(heard.clips) == 4


def test_clips_that_are_scored_together_have_the_scores_that_each_has_alone(bundle: Bundle, tones: Path) -> None:
    heard = hear(bundle, open_dataset("tones", tones), tones)
    runtime = open_runtime(bundle, "cpu")
    for each in heard.clips[::5]:
        samples, _ = soundfile.read(each.clip.path, dtype="float32")
        scores, events = listen(bundle, runtime, samples)
        np.testing.assert_array_equal(each.scores, scores[:, :3])
        assert list(each.events) == events


def test_a_model_that_carries_its_state_begins_every_clip_anew(tmp_path: Path, tones: Path) -> None:
    stateful = counter(tmp_path)
    heard = hear(stateful, open_dataset("tones", tones), tones)
    assert len(heard.clips) == 24
    for each in heard.clips:
        np.testing.assert_allclose(each.scores[:, 0], 0.01 * np.arange(1, len(each.scores) + 1), rtol=1e-5)
    assert evaluate_bundle(stateful, "tones", tones).clips == 24


def test_false_alarms_are_counted_by_kind(bundle: Bundle) -> None:
    sound = 0.3 * np.sin(2 * np.pi * 4000 * np.arange(2 * SR) / SR)
    alarm = Background("noise", "tone", sound.astype(np.float32))
    silence = Background("silence", "none", np.zeros(2 * SR, np.float32))
    alarms = false_alarms(bundle, open_runtime(bundle, "cpu"), [silence, silence, alarm])
    assert alarms["silence"].events == alarms["silence"].per_hour == 0
    assert alarms["silence"].seconds == 4
    assert alarms["noise"].labels == {"high": 1}
    assert alarms["noise"].per_hour == 1800


def test_backgrounds_are_heard_where_that_is_asked_for(
    bundle: Bundle, tones: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earwitness.models.evaluate.synthesised", lambda *_, **__: [])
    found, text = answer(Request(model=str(bundle.path), data="tones", root=tones, backgrounds=True), print)
    assert isinstance(found, Judgement)
    assert set(found.false_alarms) == {"room exercise_bike", "speech theo"}
    assert "false alarms an hour in room exercise_bike" in text


def test_the_cost_of_a_window_is_told(bundle: Bundle, tones: Path) -> None:
    cost = evaluate_bundle(bundle, "tones", tones, (4,)).cost
    assert cost is not None
    assert cost.macs == 32 * 64 * 4
    assert cost.ms_per_window is not None
    assert cost.ms_per_window > 0


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(recipe="esc50-cnn"), "go with --cross-validate"),
        (Request(compare=("a", "b"), per_window=True), "--compare goes without"),
        (Request(cross_validate=True, folds=("1",)), "goes by all official folds"),
        (Request(folds=("first",)), "folds are numbers"),
    ],
)
def test_options_that_do_not_go_together_are_refused(request_: Request, message: str) -> None:
    with pytest.raises(EarwitnessError, match=message):
        answer(request_, print)


def test_folds_may_be_given_with_commas() -> None:
    assert parse_folds(["1,2", "4"]) == [1, 2, 4]
    assert parse_folds([]) is None


def test_evaluate_prints_a_table_or_json(bundle: Bundle, tones: Path) -> None:
    call = ["evaluate", "--model", str(bundle.path), "--data", "tones", "--root", str(tones), "--folds", "4"]
    told = CliRunner().invoke(app, call)
    assert told.exit_code == 0
    assert "clips named right" in told.output
    told = CliRunner().invoke(app, [*call, "--json", "--per-window"])
    judgement = msgspec.json.decode(told.output, type=Judgement)
    assert (judgement.model, judgement.unit, judgement.clips) == (bundle.tag, "window", 6)


def counter(folder: Path) -> Bundle:
    """The score of `high` is a hundredth of the number of windows that it heard of this stream."""
    from onnx import helper

    nodes = [
        helper.make_node("Add", ["state", "hundredth"], ["stateN"]),
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Unsqueeze", ["nothing", "last"], ["column"]),
        helper.make_node("Add", ["column", "stateN"], ["first"]),
        helper.make_node("Add", ["column", "zero"], ["second"]),
        helper.make_node("Concat", ["first", "second", "second"], ["y"], axis=1),
    ]
    model = onnx_file(
        nodes,
        {"x": ("float32", ["batch", 8, 64]), "state": ("float32", ["batch", 1])},
        {"y": ("float32", ["batch", 3]), "stateN": ("float32", ["batch", 1])},
        {
            "hundredth": np.array(0.01, np.float32), "zero": np.array(0, np.float32), "last": np.array([1], np.int64),
        },
    )  # fmt: skip
    about = manifest(
        name="counter", labels=LABELS[:3], background="", thresholds=dict.fromkeys(LABELS[:3], 0.9),
        window_frames=8, hop_frames=8, front_end=FrontEndSpec(), input=Input(name="x", shape=[0, 8, 64]),
        output=Output(name="y"), states=[State(input="state", output="stateN", shape=[1])], network=None,
    )  # fmt: skip
    return write_bundle(folder / "counter", about, {"model.onnx": model})
