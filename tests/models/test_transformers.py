"""A folder of Hugging Face's transformers as a bundle. The folders are made here, with random weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earwitness.models.bundle import Bundle, find_bundle, user_folder
from earwitness.models.foreign.add import add_model, read_foreign
from earwitness.models.foreign.transformers_folder import manifest_values, read_folder
from earwitness.models.runtime import open_runtime
from earwitness.models.runtimes.transformers import FILES
from earwitness.stream.errors import EarwitnessError

from .live import live

CONFIG = {"model_type": "wav2vec2", "id2label": {"1": "no", "0": "yes"}}
EXTRACTOR = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16000}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of bundles, empty."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return user_folder()


def written(folder: Path, config: Any = CONFIG, extractor: Any = EXTRACTOR) -> Path:
    """A folder whose weights are none; what is told of it needs no transformers."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor))
    (folder / "model.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
    return folder


def told(folder: Path, text: str = "") -> Any:
    """The manifest that becomes of it."""
    path = folder / "m.toml"
    path.write_text(text)
    return read_foreign(path if text else None, None, manifest_values(folder, read_folder(folder)))


def test_the_configuration_tells_labels_rate_and_a_window_of_a_second(tmp_path: Path) -> None:
    manifest = told(written(tmp_path / "digits"))
    assert (manifest.name, manifest.labels) == ("digits", ["yes", "no"])
    assert (manifest.front_end.feature, manifest.front_end.sr) == ("waveform", 16000)
    assert (manifest.window_frames, manifest.hop_frames) == (16000, 4000)
    assert (manifest.output.activation, manifest.multi_label) == ("softmax", False)
    assert manifest.thresholds == {"yes": 0.5, "no": 0.5}


@pytest.mark.parametrize(
    ("extractor", "window"),
    [
        ({"sampling_rate": 16000, "max_length": 1024, "num_mel_bins": 128}, 163840),
        ({"sampling_rate": 16000, "n_samples": 480000, "feature_size": 80}, 480000),
        ({"sampling_rate": 8000, "max_length": 99}, 8000),
    ],
)
def test_the_window_is_the_longest_sound_that_the_extractor_takes(tmp_path: Path, extractor: Any, window: int) -> None:
    assert told(written(tmp_path / "m", extractor=extractor)).window_frames == window


def test_several_sounds_at_once_are_told_by_the_problem_type(tmp_path: Path) -> None:
    manifest = told(written(tmp_path / "m", config=CONFIG | {"problem_type": "multi_label_classification"}))
    assert (manifest.output.activation, manifest.multi_label) == ("sigmoid", True)


def test_a_manifest_has_the_last_word(tmp_path: Path) -> None:
    text = 'name = "mine"\nwindow_frames = 8000\nhop_frames = 2000\nbackground = "no"\nthresholds = 0.8\n'
    manifest = told(written(tmp_path / "m"), text)
    assert (manifest.name, manifest.thresholds) == ("mine", {"yes": 0.8})
    assert manifest.input.shape == [0, 8000]


@pytest.mark.parametrize(
    ("config", "extractor", "complaint"),
    [
        (CONFIG | {"auto_map": {"AutoModel": "evil.Model"}}, EXTRACTOR, "config.json wants code of its own"),
        (CONFIG, EXTRACTOR | {"auto_map": {}}, "preprocessor_config.json wants code of its own"),
        (CONFIG | {"quantization_config": {}}, EXTRACTOR, "quantized by another library"),
        ({}, EXTRACTOR, "has no id2label"),
        ({"id2label": {"0": "a", "2": "b"}}, EXTRACTOR, "has no id2label that counts from 0"),
        ({"id2label": {"0": "a", "1": "a"}}, EXTRACTOR, "each once"),
        (CONFIG, {}, "has no sampling_rate"),
        (CONFIG, {"sampling_rate": True}, "has no sampling_rate"),
        ([], EXTRACTOR, "config.json is no JSON object"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, config: Any, extractor: Any, complaint: str
) -> None:
    with pytest.raises(EarwitnessError, match=complaint) as caught:
        told(written(tmp_path / "m", config, extractor))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        (
            "pytorch_model.bin",
            "pytorch_model.bin may hold code that opening it would run; save it as model.safetensors",
        ),
        ("model.safetensors.index.json", "its weights are in several files"),
        ("README.md", "it has no model.safetensors"),
    ],
)
def test_weights_of_another_kind_are_refused_with_the_way_out(tmp_path: Path, other: str, complaint: str) -> None:
    folder = written(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / other)
    with pytest.raises(EarwitnessError, match=complaint):
        add_model(folder, None)


def test_without_transformers_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    folder = written(tmp_path / "m")
    monkeypatch.setitem(sys.modules, "transformers", None)
    bundle = Bundle(folder, told(folder), "", read_folder(folder))
    with pytest.raises(EarwitnessError, match=r"needs transformers: pip install 'earwitness\[transformers\]'"):
        open_runtime(bundle, "cpu")


# ---- with transformers


@pytest.fixture(scope="module", params=["spectrogram", "samples"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier with random weights: an audio spectrogram transformer, or a wav2vec 2.0."""
    torch = pytest.importorskip("torch")
    from earwitness.models.torchaudio_cpu import import_torchaudio

    pytest.importorskip("transformers", reason="it runs these (extra transformers)")
    import_torchaudio()
    import transformers

    transformers.utils.logging.disable_progress_bar()  # it has a thread of its own
    torch.manual_seed(0)
    labels: Any = {"id2label": {0: "yes", 1: "no", 2: "noise"}, "label2id": {"yes": 0, "no": 1, "noise": 2}}
    small: Any = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    if request.param == "spectrogram":
        config: Any = transformers.ASTConfig(max_length=64, num_mel_bins=32, **small, **labels)
        model: Any = transformers.ASTForAudioClassification(config)
        extractor: Any = transformers.ASTFeatureExtractor(max_length=64, num_mel_bins=32)
        path = model.classifier.dense
    else:
        config = transformers.Wav2Vec2Config(
            conv_dim=(8, 8), conv_stride=(5, 4), conv_kernel=(10, 8), num_feat_extract_layers=2,
            num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, classifier_proj_size=8, **small, **labels,
        )  # fmt: skip
        model = transformers.Wav2Vec2ForSequenceClassification(config)
        extractor = transformers.Wav2Vec2FeatureExtractor()
        path = model.classifier
    torch.nn.init.normal_(path.weight, std=1.0)
    made = tmp_path_factory.mktemp("folders") / request.param
    model.save_pretrained(made)
    extractor.save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def bundle(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return add_model(folder, None, out=tmp_path_factory.mktemp("bundles")).bundle


@pytest.mark.slow
def test_it_is_added_and_gives_what_transformers_gives(folder: Path, bundle: Bundle) -> None:
    import torch
    import transformers

    assert find_bundle(bundle.path) == bundle
    assert set(bundle.contents) == set(FILES)
    length = bundle.manifest.window_frames
    windows = np.random.default_rng(0).uniform(-0.3, 0.3, (3, length, 1)).astype(np.float32)
    extractor: Any = transformers.AutoFeatureExtractor.from_pretrained(folder)
    model: Any = transformers.AutoModelForAudioClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        given = extractor([*windows[:, :, 0]], sampling_rate=16000, return_tensors="pt")
        expected = model(**given).logits.softmax(dim=1).numpy()
    scores = open_runtime(bundle, "cpu").scores(windows)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert np.ptp(scores) > 0.05


@pytest.mark.slow
def test_live_it_runs_only_where_torch_is_asked_for(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earwitness.models.runtime.why_no_cuda", lambda bundle: "no NVIDIA GPU is to be seen")
    with pytest.raises(
        EarwitnessError, match="which a run on the CPU loads only where that is asked for: --device cpu"
    ):
        open_runtime(bundle, "auto")
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, 3 * 16000).astype(np.float32)
    scores, _ = live(bundle, samples, 16000, device="cpu")
    manifest = bundle.manifest
    starts = range(0, len(samples) - manifest.window_frames + 1, manifest.hop_frames)
    windows = np.stack([samples[start : start + manifest.window_frames, None] for start in starts])
    np.testing.assert_allclose(scores[: len(windows)], open_runtime(bundle, "cpu").scores(windows), atol=1e-5)
