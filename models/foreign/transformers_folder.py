"""A folder of Hugging Face's `transformers` with an audio classifier, as the files and the manifest of a bundle.

    earwitness models add ast-finetuned-audioset/ --manifest ast.toml

Its configuration tells labels, rate and window. A manifest, which may be left out, tells the rest, or otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ...stream.errors import EarwitnessError
from ..runtimes.transformers import FILES, KIND

FRAME_S = 0.01  # of spectrogram extractors, which count the longest sound in frames
WINDOW_S = 1.0  # where the extractor takes any length
LARGEST_CONFIG = 1 << 22  # bytes
PICKLED = ("pytorch_model.bin", "model.ckpt", "tf_model.h5", "flax_model.msgpack")


def read_folder(folder: Path) -> dict[str, bytes]:
    """The files of such a folder that a bundle has.

    Raises:
        EarwitnessError: one is missing, holds or may hold code, or wants more than these.
    """
    contents = {}
    for name in FILES:
        path = folder / name
        if not path.is_file():
            raise EarwitnessError(f"{folder}: {_why_not(folder, name)}")
        if name.endswith(".json") and path.stat().st_size > LARGEST_CONFIG:
            raise EarwitnessError(f"{path}: larger than {LARGEST_CONFIG} bytes")
        contents[name] = path.read_bytes()
    for name in FILES[:2]:
        config = _json(folder, contents, name)
        if "auto_map" in config:
            raise EarwitnessError(f"{folder}: {name} wants code of its own to be run (auto_map); that is not done here")
    if "quantization_config" in _json(folder, contents, "config.json"):
        raise EarwitnessError(f"{folder}: its weights are quantized by another library; save it in single precision")
    return contents


def manifest_values(folder: Path, contents: Mapping[str, bytes]) -> dict[str, Any]:
    """What the configuration tells of the manifest, as plain values.

    Raises:
        EarwitnessError: it names no labels or no rate.
    """
    config, extractor = (_json(folder, contents, name) for name in FILES[:2])
    labels, rate = config.get("id2label"), extractor.get("sampling_rate")
    if not isinstance(labels, dict) or sorted(labels) != sorted(map(str, range(len(labels)))):
        raise EarwitnessError(f"{folder}: config.json has no id2label that counts from 0")
    if not isinstance(rate, int) or isinstance(rate, bool) or not 1 <= rate <= 1_000_000:
        raise EarwitnessError(f"{folder}: preprocessor_config.json has no sampling_rate")
    window = _window(extractor, rate)
    several = config.get("problem_type") == "multi_label_classification"
    return {
        "name": folder.resolve().name,
        "description": f"{config.get('model_type', 'a model')} of transformers, {len(labels)} labels",
        "labels": [labels[str(index)] for index in range(len(labels))],
        "multi_label": several,
        "window_frames": window,
        "hop_frames": max(1, window // 4),
        "front_end": {"feature": "waveform", "sr": rate},
        "input": {"name": "samples", "shape": [0, window], "axes": ["batch", "frames"]},
        "output": {"name": "logits", "activation": "sigmoid" if several else "softmax"},
        "network": {"kind": KIND},
    }


def _window(extractor: Mapping[str, Any], rate: int) -> int:
    """Samples of the longest sound that the extractor takes, or a second where it takes any."""
    samples, frames = extractor.get("n_samples"), extractor.get("max_length")
    if isinstance(samples, int):
        return samples
    if isinstance(frames, int) and "num_mel_bins" in extractor:
        return round(frames * FRAME_S * rate)
    return round(WINDOW_S * rate)


def _json(folder: Path, contents: Mapping[str, bytes], name: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(contents[name], type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise EarwitnessError(f"{folder}: {name} is no JSON object: {error}") from None


def _why_not(folder: Path, name: str) -> str:
    if name == FILES[2]:
        if (folder / f"{name}.index.json").is_file():
            return "its weights are in several files; save it again with a max_shard_size above their sum"
        for pickled in PICKLED:
            if (folder / pickled).is_file():
                return f"{pickled} may hold code that opening it would run; save it as {name} (save_pretrained does)"
    return f"it has no {name}: a folder of transformers has {', '.join(FILES)}"
