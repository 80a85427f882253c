"""Bundles of models of others, by a manifest alone: checked, tried, and installed only then."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earwitness.models.bundle import Bundle, bundle_names, find_bundle, remove_bundle, user_folder
from earwitness.models.catalog import list_lines
from earwitness.models.foreign import add
from earwitness.models.foreign.add import add_model, read_foreign
from earwitness.models.runtime import open_runtime
from earwitness.stream.errors import EarwitnessError

onnx = pytest.importorskip("onnx", reason="model files are made with onnx (extra train)")

from ..foreign_models import linear, lite_file, memory, onnx_file  # noqa: E402

SAMPLES = 800
WEIGHTS = (np.sin(np.outer(np.arange(SAMPLES), [0.05, 0.4])) * 0.5).astype(np.float32)
LOGITS = linear(["batch", SAMPLES], WEIGHTS)
PROBABILITIES = linear(["batch", SAMPLES], WEIGHTS, activation="Sigmoid")
SOFTMAX = linear(["batch", SAMPLES], WEIGHTS, activation="Softmax")

TOML = f"""
name = "tones"
labels = ["low", "high"]
multi_label = true
window_frames = {SAMPLES}
hop_frames = {SAMPLES // 2}

[front_end]
feature = "waveform"
sr = 8000

[input]
name = "x"
shape = [0, {SAMPLES}]
axes = ["batch", "frames"]

[output]
name = "y"
activation = "sigmoid"
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of bundles, empty."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "earwitness" / "models"


@pytest.fixture(scope="module", autouse=True)
def at_once() -> Any:
    """Trials in this process: what another one costs, one test pays for all."""
    from earwitness.models.foreign.trial import try_bundle

    def tried(manifest: Any, contents: Any) -> list[str]:
        return try_bundle(Bundle(Path("trial"), manifest, "", contents))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(add, "_tried_here", add._tried, raising=False)
        patch.setattr(add, "_tried", tried)
        yield


def told(folder: Path, data: bytes = LOGITS, text: str = TOML, kind: str = "onnx") -> tuple[Path, Path]:
    """A model file and its manifest, in a folder of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    file, manifest = folder / f"model.{kind}", folder / "m.toml"
    file.write_bytes(data)
    manifest.write_text(text)
    return file, manifest


def refusal(folder: Path, *args: Any, **kwargs: Any) -> str:
    """The one line with which it is refused; nothing of it is installed."""
    with pytest.raises(EarwitnessError) as caught:
        add_model(*told(folder / "in", *args, **kwargs))
    assert "\n" not in str(caught.value)
    assert not bundle_names(user_folder())
    assert not user_folder().exists() or not os.listdir(user_folder())
    return str(caught.value)


def test_an_added_model_is_found_listed_run_and_removed_by_its_name(tmp_path: Path, home: Path) -> None:
    added = add_model(*told(tmp_path / "in"))
    assert added.bundle.path == home / "tones"
    assert added.remarks == []
    found = find_bundle("tones")
    assert found == added.bundle
    assert "tones" in bundle_names()
    assert any(line.startswith(f"{found.tag}  2 sounds") for line in list_lines())
    assert found.manifest.thresholds == {"low": 0.5, "high": 0.5}
    assert open_runtime(found, "cpu").scores(np.zeros((2, SAMPLES, 1), np.float32)).tolist() == [[0.5, 0.5]] * 2
    assert remove_bundle("tones") == home / "tones"
    assert "tones" not in bundle_names()
    with pytest.raises(EarwitnessError, match="no model 'tones' was added"):
        remove_bundle("tones")


def test_a_name_and_a_folder_may_be_chosen(tmp_path: Path) -> None:
    added = add_model(*told(tmp_path / "in"), name="mine", out=tmp_path / "bundles")
    assert added.bundle.path == tmp_path / "bundles" / "mine"
    assert added.bundle.manifest.name == "mine"


def test_what_is_added_again_takes_the_place_of_the_first(tmp_path: Path) -> None:
    first = add_model(*told(tmp_path / "in")).bundle
    second = add_model(*told(tmp_path / "in", text=TOML.replace('"high"', '"higher"'))).bundle
    assert find_bundle("tones") == second != first


def test_the_models_in_the_box_stay(tmp_path: Path) -> None:
    with pytest.raises(EarwitnessError, match="a model in the box is called so"):
        add_model(*told(tmp_path / "in"), name="esc50-cnn")
    with pytest.raises(EarwitnessError, match="no model 'esc50-cnn' was added"):
        remove_bundle("esc50-cnn")


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/b", ".hidden", "", " ", "a\\b", "two words"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    text = TOML.replace('name = "tones"', f"name = '{name}'")
    file, manifest = told(tmp_path / "in", text=text)
    if not name:
        manifest = manifest.rename(manifest.with_name(".toml"))  # whose stem would be the name
    with pytest.raises(EarwitnessError, match="name "):
        add_model(file, manifest)


# ---- manifests


def test_labels_come_from_a_text_or_a_column_of_a_table(tmp_path: Path) -> None:
    for labels, name, contents in (
        ('{ file = "l.txt" }', "l.txt", "low\n\nhigh\n"),
        ('{ file = "l.csv", column = "display_name" }', "l.csv", 'index,display_name\n0,low\n1,"high"\n'),
        ('{ file = "l.csv", column = "display_name" }', "l.csv", "\ufeffdisplay_name,mid\r\nlow,x\r\nhigh,y\r\n"),
    ):
        (tmp_path / name).write_text(contents, encoding="utf-8", newline="")
        _, manifest = told(tmp_path, text=TOML.replace('["low", "high"]', labels))
        assert read_foreign(manifest).labels == ["low", "high"]


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        ("thresholds = 0.3", {"low": 0.3, "high": 0.3}),
        ("thresholds = { default = 0.3, high = 0.7 }", {"low": 0.3, "high": 0.7}),
        ("thresholds = { low = 0.2, high = 0.7 }", {"low": 0.2, "high": 0.7}),
        ("thresholds = 0.3\nbackground = 'low'", {"high": 0.3}),
    ],
)
def test_thresholds_are_one_for_all_or_some_beside_a_default(tmp_path: Path, thresholds: str, expected: Any) -> None:
    _, manifest = told(tmp_path, text=thresholds + TOML)
    assert read_foreign(manifest).thresholds == expected


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('["low", "high"]', '{ file = "none.txt" }', "none.txt: No such file"),
        ('["low", "high"]', '{ file = "m.toml", column = "x" }', "no column 'x'"),
        ('["low", "high"]', '"low"', "labels are a list"),
        ('["low", "high"]', "[1, 2]", "Expected `str`"),
        ('labels = ["low", "high"]', "", "labels are a list"),
        ("multi_label", "multi_lable", "unknown key 'multi_lable'; did you mean 'multi_label'?"),
        ("window_frames = 800", "", "missing required field `window_frames`"),
        ("shape = [0, 800]", "shape = [0, 801]", "window and front end give [0, 800]"),
        ('feature = "waveform"', 'feature = "wavform"', "did you mean 'waveform'?"),
        ("multi_label = true", "thresholds = 2.0", "threshold of 'low' is 2.0"),
        ("multi_label = true", "thresholds = { default = 0.5, hgih = 0.6 }", "did you mean 'high'?"),
        ("multi_label = true", "format_version = 7", "has format version 7; it is 1"),
        ("multi_label = true", "multi_label =", "is no TOML"),
        ('name = "y"', 'name = "z"', "gives no 'z'"),
        ('["low", "high"]', '["low", "middle", "high"]', "with 3 labels"),
    ],
)
def test_a_manifest_that_cannot_work_is_refused_in_one_line(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in TOML
    assert complaint in refusal(tmp_path, text=TOML.replace(old, new, 1))


def test_a_manifest_that_is_not_there_is_told(tmp_path: Path) -> None:
    file, _ = told(tmp_path)
    with pytest.raises(EarwitnessError, match=r"nowhere.toml: No such file"):
        add_model(file, tmp_path / "nowhere.toml")


def test_the_manifests_that_the_page_shows_are_in_order(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("one\ntwo\n")
    page = Path(__file__).parents[3] / "docs" / "how-to" / "foreign-models.md"
    shown = re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
    assert len(shown) == 3
    for text in shown:
        (tmp_path / "shown.toml").write_text(text)
        assert read_foreign(tmp_path / "shown.toml").labels


# ---- files


@pytest.mark.parametrize(
    ("kind", "way_out"),
    [("pt", "torch.onnx.export"), ("PKL", "skl2onnx.to_onnx"), ("keras", "tf.lite.TFLiteConverter")],
)
def test_files_that_may_hold_code_are_refused_with_the_way_out(tmp_path: Path, kind: str, way_out: str) -> None:
    line = refusal(tmp_path, kind=kind)
    assert "may hold code that opening it would run" in line
    assert way_out in line


def test_other_files_are_refused_too(tmp_path: Path) -> None:
    assert "a model is a .onnx or a .tflite file; did you mean '.onnx'?" in refusal(tmp_path, kind="onx")
    with pytest.raises(EarwitnessError, match="no such file"):
        add_model(tmp_path / "none.onnx", tmp_path / "m.toml")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(EarwitnessError, match=r"has no config.json: a folder of transformers has"):
        add_model(tmp_path / "folder.onnx", tmp_path / "m.toml")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    assert "no ONNX file, or a damaged one" in refusal(tmp_path, data=LOGITS[:100])
    pytest.importorskip("ai_edge_litert")
    assert "no LiteRT file" in refusal(tmp_path, data=LOGITS, kind="tflite")


def test_a_model_of_another_opset_is_refused(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    data = onnx_file([node], {"x": ("float32", [1])}, {"y": ("float32", [1])}, {}, opset=5)
    assert "has opset 5" in refusal(tmp_path, data=data)


def external(folder: Path, location: str) -> bytes:
    """The model with its weights in a file of their own."""
    model = onnx.load_from_string(LOGITS)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "weights")
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(len(data)))):
        tensor.external_data.add(key=key, value=value)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / Path(location).name).write_bytes(data)
    (folder.parent / Path(location).name).write_bytes(data)
    whole: bytes = model.SerializeToString()
    return whole


def test_weights_in_a_file_beside_the_model_come_along(tmp_path: Path) -> None:
    file, manifest = told(tmp_path / "in", data=external(tmp_path / "in", "model.onnx.data"))
    added = add_model(file, manifest).bundle
    assert set(added.contents) == {"model.onnx", "model.onnx.data"}
    samples = np.random.default_rng(0).uniform(-1, 1, (3, SAMPLES, 1)).astype(np.float32)
    plain = add_model(*told(tmp_path / "plain"), name="plain").bundle
    np.testing.assert_allclose(
        open_runtime(find_bundle("tones"), "cpu").scores(samples), open_runtime(plain, "cpu").scores(samples), atol=1e-6
    )


@pytest.mark.parametrize("location", ["../weights", "/etc/hostname", "sub/weights", "model.onnx"])
def test_weights_that_leave_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    assert "which leaves its folder" in refusal(tmp_path, data=external(tmp_path / "in", location))


def test_weights_that_are_not_there_are_told(tmp_path: Path) -> None:
    data = external(tmp_path / "in", "weights")
    (tmp_path / "in" / "weights").unlink()
    assert "weights: no such file" in refusal(tmp_path, data=data)


def test_a_file_larger_than_any_model_is_not_read(tmp_path: Path) -> None:
    file, manifest = told(tmp_path)
    os.truncate(file, (1 << 31) + 1)  # a hole: it takes no room
    with pytest.raises(EarwitnessError, match="larger than 2147483648 bytes"):
        add_model(file, manifest)


# ---- the trial


def test_logits_told_to_be_probabilities_are_noticed(tmp_path: Path) -> None:
    line = refusal(tmp_path, text=TOML.replace('"sigmoid"', '"none"'))
    assert "which are no probabilities; are they logits?" in line


def test_probabilities_told_to_be_logits_are_noticed(tmp_path: Path) -> None:
    softmax = TOML.replace("multi_label = true", "").replace('"sigmoid"', '"softmax"')
    assert "gives probabilities already, which add up to 1" in refusal(tmp_path, data=SOFTMAX, text=softmax)
    (remark,) = add_model(*told(tmp_path / "in", data=PROBABILITIES)).remarks
    assert "are these probabilities already?" in remark
    assert add_model(*told(tmp_path / "in", data=PROBABILITIES, text=TOML.replace('"sigmoid"', '"none"'))).remarks == []


def test_scores_that_are_not_numbers_are_noticed(tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["s"]),
        onnx.helper.make_node("Abs", ["s"], ["a"]),
        onnx.helper.make_node("Neg", ["a"], ["n"]),
        onnx.helper.make_node("Log", ["n"], ["y"]),
    ]
    data = onnx_file(nodes, {"x": ("float32", ["batch", SAMPLES])}, {"y": ("float32", ["batch", 2])}, {"w": WEIGHTS})
    assert "no probabilities" in refusal(tmp_path, data=data)


def test_a_model_that_hears_nothing_is_remarked(tmp_path: Path) -> None:
    data = linear(["batch", SAMPLES], 1e-9 * WEIGHTS)
    assert any(
        "the same for silence and noise" in line for line in add_model(*told(tmp_path / "in", data=data)).remarks
    )


def test_a_batch_that_mixes_its_windows_is_noticed(tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["s"]),
        onnx.helper.make_node("ReduceMean", ["s"], ["m"], axes=[0], keepdims=1),
        onnx.helper.make_node("Sub", ["s", "m"], ["y"]),
    ]
    data = onnx_file(nodes, {"x": ("float32", ["batch", SAMPLES])}, {"y": ("float32", ["batch", 2])}, {"w": WEIGHTS})
    assert "with the windows beside it; the batch in input.shape must be 1" in refusal(tmp_path, data=data)


def test_a_state_that_comes_back_in_another_shape_is_noticed(tmp_path: Path) -> None:
    text = TOML.replace('["low", "high"]', '["speech"]').replace("800", "576").replace('name = "x"', 'name = "input"')
    text = text.replace('name = "y"\nactivation = "sigmoid"', 'name = "output"').replace("400", "512")
    text += '\n[[constants]]\nname = "sr"\ndtype = "int64"\nvalues = [16000]\n'
    text += '\n[[states]]\ninput = "state"\noutput = "stateN"\nshape = [2, 4]\nbatch_axis = 1\n'
    assert add_model(*told(tmp_path / "good", data=memory(), text=text)).bundle.manifest.states
    remove_bundle("tones")
    nodes = [
        onnx.helper.make_node("Reshape", ["input", "shape"], ["long"]),
        onnx.helper.make_node("Concat", ["state", "long"], ["stateN"], axis=1),
        onnx.helper.make_node("ReduceMean", ["stateN"], ["output"], axes=[1], keepdims=1),
    ]
    data = onnx_file(
        nodes, {"input": ("float32", ["batch", 576]), "state": ("float32", ["batch", "n"])},
        {"output": ("float32", ["batch", 1]), "stateN": ("float32", ["batch", "m"])},
        {"shape": np.array([0, 576], np.int64)},
    )  # fmt: skip
    grows = text.split("[[constants]]")[0] + '[[states]]\ninput = "state"\noutput = "stateN"\nshape = [3]\n'
    grows = grows.replace('name = "output"', 'name = "output"\nactivation = "sigmoid"')
    assert "gives the state 'stateN' as [1, 579]" in refusal(tmp_path, data=data, text=grows)


def test_a_litert_file_is_added_as_well(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT runs it (extra litert)")
    text = TOML.replace("[0, 800]", "[1, 800]").replace('"sigmoid"', '"none"')
    added = add_model(*told(tmp_path / "in", data=lite_file([1, SAMPLES], WEIGHTS), text=text, kind="tflite"))
    assert set(added.bundle.contents) == {"model.tflite"}
    file, manifest = told(tmp_path / "other", lite_file([1, SAMPLES], WEIGHTS, custom="mine"), text, "tflite")
    with pytest.raises(EarwitnessError, match="custom operator 'mine'"):
        add_model(file, manifest)


def test_the_trial_is_a_process_of_its_own_and_its_fall_takes_nobody_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(add, "_tried", add._tried_here)  # type: ignore[attr-defined]
    assert add_model(*told(tmp_path / "in")).remarks == []
    remove_bundle("tones")
    assert refusal(tmp_path, text=TOML.replace('"sigmoid"', '"none"')).startswith("output 'y' has values")
    program = tmp_path / "falls.sh"
    program.write_text("#!/bin/sh\nkill -SEGV $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(add.sys, "executable", str(program))  # type: ignore[attr-defined]
    assert "the file brought its runtime down (exit -11)" in refusal(tmp_path)
