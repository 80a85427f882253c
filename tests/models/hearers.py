"""A bundle that hears the tones of `scene` without having been trained, and hearings made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from earwitness.models.bundle import Bundle, Input, Output, Training, write_bundle
from earwitness.models.data.clip import Clip
from earwitness.models.judging.judgement import Heard, Hearing
from earwitness.stream.features.frontend import FrontEndSpec, compute

from .conftest import manifest
from .foreign_models import linear
from .scene import CLASSES, tone

FRAMES = 32
LABELS = ["high", "low", "middle", "background"]


def hearer(folder: Path, labels: list[str] = LABELS, **changes: Any) -> Bundle:
    """Compares each frame with the classes' mean spectra; `labels` are other names for LABELS."""
    rng, spec = np.random.default_rng(0), FrontEndSpec()
    spectra = {label: compute(spec, tone(rng, label)[: int(1.5 * 16000)]).mean(axis=0) for label in CLASSES}
    templates = np.zeros((64, len(LABELS)), np.float32)
    for label, spectrum in spectra.items():
        others = np.mean([other for name, other in spectra.items() if name != label], axis=0)
        templates[:, LABELS.index(label)] = (spectrum - others) - (spectrum - others).mean()
    weights = np.tile(templates / 2000, (FRAMES, 1)).astype(np.float32)
    events = [label for label in labels if label != "background"]
    fields: dict[str, Any] = {
        "labels": labels,
        "thresholds": dict.fromkeys(events, 0.7),
        "window_frames": FRAMES,
        "hop_frames": 8,
        "input": Input(name="x", shape=[0, FRAMES, 64]),
        "output": Output(name="y", activation="softmax"),
        "network": None,
    }
    files = {"model.onnx": linear(["batch", FRAMES, 64], weights)}
    return write_bundle(folder / "hearer", manifest(**{**fields, "name": "hearer", **changes}), files)


def trained_on(data: str, *folds: int) -> Training:
    return Training(
        command="", seed=0, data=data, data_sha256="", clips=0, folds=list(folds), validation="", steps=0, batch=0,
        minutes=0, torch="",
    )  # fmt: skip


def clip(number: int, label: str, *further: str, recording: str = "", fold: int = 1) -> Clip:
    return Clip(Path(f"{number}.wav"), label, fold, recording or f"{number}", further_labels=further)


def hearing(labels: list[str], *heard: tuple[Clip, list[list[float]], list[str]], **changes: Any) -> Hearing:
    """Of clips with the scores of their windows and the events that began."""
    clips = [
        Heard(each, np.array(scores, np.float32).reshape(-1, len(labels)), tuple(events))
        for each, scores, events in heard
    ]
    fields: dict[str, Any] = {
        "model": "tiny@123456", "data": "made", "protocol": "by hand", "folds": (1,), "label_map": "",
        "labels": labels, "thresholds": dict.fromkeys(labels, 0.5), "exclusive": True,
        "multi_label": any(each.clip.further_labels for each in clips), "clips": clips,
    }  # fmt: skip
    return Hearing(**{**fields, **changes})
