"""Judge a bundle on clips and backgrounds, through the front end, window rule, runtime and detector that run live.

    earwitness evaluate --model esc50-cnn --data esc50 --folds 4 --json
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..stream.detect import Detector, Start
from ..stream.detect_settings import detect_settings
from ..stream.errors import EarwitnessError, nearest
from ..stream.features.frontend import clean, compute, silence
from ..stream.windowing import windows_of
from .bundle import Bundle
from .data.background import Background, real, synthesised
from .data.esc import Clip, read_audio, read_clips
from .data.root import data_folder, data_root
from .runtime import Runtime, open_runtime

Array = NDArray[np.float32]


class ClassResult(msgspec.Struct, frozen=True, kw_only=True):
    """How the clips of one class fared."""

    clips: int
    correct: int
    heard: int  # in how many an event of the class began
    taken_for: dict[str, int]  # what the others were named


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """How well a bundle names the clips of a data set.

    A clip is named by the mean of its windows' scores, the background's left out. `heard` is the share of clips in
    which an event of the right label began by the bundle's thresholds, `misheard` of those in which a wrong one did.
    """

    model: str
    data: str
    folds: list[int]
    clips: int
    skipped: int  # clips of classes that the model does not know
    unreadable: list[str]
    accuracy: float
    window_accuracy: float
    heard: float
    misheard: float
    classes: dict[str, ClassResult]


class FalseAlarms(msgspec.Struct, frozen=True, kw_only=True):
    """The events that were heard where nothing happened."""

    seconds: float
    events: int
    labels: dict[str, int]

    @property
    def per_hour(self) -> float:
        """Events in an hour of such sound."""
        return self.events * 3600 / self.seconds


def evaluate_bundle(
    bundle: Bundle,
    data: str = "esc50",
    root: Path | None = None,
    folds: Collection[int] = (4,),
    licences: Collection[str] | None = None,
    device: str = "cpu",
) -> Judgement:
    """Name every clip of the chosen folds and licences.

    Args:
        data: folder of a data set laid out as ESC-50, under `root` (see `data_root`).

    Raises:
        EarwitnessError: no such data, or the model knows none of its classes.
    """
    clips = read_clips(data_folder(data_root(root), data), folds, licences)
    labels = bundle.manifest.labels
    known = [clip for clip in clips if clip.label in labels]
    if not known:
        raise EarwitnessError(
            f"{bundle.manifest.name} knows none of the classes of {data}: {nearest(clips[0].label, labels)}"
        )
    runtime = open_runtime(bundle, device)
    tally = _Tally(bundle)
    unreadable = []
    for clip in known:
        try:
            samples = read_audio(clip.path, bundle.manifest.front_end.sr)
        except EarwitnessError as error:
            unreadable.append(str(error))
            continue
        tally.add(clip, *listen(bundle, runtime, samples))
    return Judgement(
        model=bundle.tag,
        data=data,
        folds=sorted(folds),
        skipped=len(clips) - len(known),
        unreadable=unreadable,
        **tally.figures(),
    )


def listen(bundle: Bundle, runtime: Runtime, samples: Array) -> tuple[Array, list[str]]:
    """What one sound gives, as it would live: scores [windows, labels], and the label of each event that begins.

    Args:
        samples: float32 [samples], mono at the front end's rate.
    """
    manifest, spec = bundle.manifest, bundle.manifest.front_end
    frames = compute(spec, clean(samples)[0])
    scores = runtime.scores(windows_of(frames, manifest.window_frames, manifest.hop_frames, silence(spec)))
    detector = Detector(
        manifest.labels, manifest.background, manifest.thresholds, detect_settings(manifest.detection), spec,
        window_frames=manifest.window_frames, hop_frames=manifest.hop_frames, rate=spec.sr,
    )  # fmt: skip
    detector.hear(0, frames)
    decisions = [*detector.push(0, scores), *detector.flush()]
    return scores, [decision.label for decision in decisions if isinstance(decision, Start)]


def false_alarms(bundle: Bundle, runtime: Runtime, backgrounds: Iterable[Background]) -> dict[str, FalseAlarms]:
    """The events in sounds without any, by kind; real rooms and speakers by their names."""
    seconds: Counter[str] = Counter()
    labels: dict[str, Counter[str]] = {}
    for background in backgrounds:
        kind = background.kind + (f" {background.name}" if background.kind in ("room", "speech") else "")
        seconds[kind] += len(background.samples)
        labels.setdefault(kind, Counter()).update(listen(bundle, runtime, background.samples)[1])
    return {
        kind: FalseAlarms(
            seconds=seconds[kind] / bundle.manifest.front_end.sr, events=heard.total(), labels=dict(heard)
        )
        for kind, heard in labels.items()
    }


def held_out_backgrounds(root: Path, sr: int, seed: int = 1000) -> list[Background]:
    """Backgrounds that no training run of ours has heard: a room, a speaker, and noise from another seed."""
    return [*real(root, sr, "test"), *synthesised(seed, sr, count=40)]


class _Tally:
    """Counts clip by clip."""

    def __init__(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        self._labels, self._events = manifest.labels, np.array([x != manifest.background for x in manifest.labels])
        self._named: dict[str, Counter[str]] = {}
        self._heard: Counter[str] = Counter()
        self._misheard = self._windows = self._windows_right = 0

    def add(self, clip: Clip, scores: Array, heard: list[str]) -> None:
        right = self._labels.index(clip.label)
        events: Array = np.where(self._events, scores, np.float32(-1))
        named = self._labels[int(events.mean(axis=0).argmax())] if len(scores) else "nothing: too short"
        self._named.setdefault(clip.label, Counter())[named] += 1
        self._heard[clip.label] += clip.label in heard
        self._misheard += any(label != clip.label for label in heard)
        self._windows += len(scores)
        self._windows_right += int((events.argmax(axis=1) == right).sum()) if len(scores) else 0

    def figures(self) -> dict[str, Any]:
        classes = {
            label: ClassResult(
                clips=named.total(),
                correct=named[label],
                heard=self._heard[label],
                taken_for={other: count for other, count in named.most_common() if other != label},
            )
            for label, named in sorted(self._named.items())
        }
        clips = sum(result.clips for result in classes.values())
        return {
            "clips": clips,
            "accuracy": sum(result.correct for result in classes.values()) / max(clips, 1),
            "window_accuracy": self._windows_right / max(self._windows, 1),
            "heard": sum(result.heard for result in classes.values()) / max(clips, 1),
            "misheard": self._misheard / max(clips, 1),
            "classes": classes,
        }


def report(judgement: Judgement) -> str:
    """The judgement for a person: the figures, then the classes, worst first."""
    lines = [
        f"{judgement.model} on {judgement.data}, folds {', '.join(map(str, judgement.folds))}: "
        f"{judgement.accuracy:.3f} of {judgement.clips} clips named right by the mean of their windows",
        f"single windows {judgement.window_accuracy:.3f}; event heard in {judgement.heard:.3f}, "
        f"event of another label in {judgement.misheard:.3f} of the clips",
    ]
    lines += [f"not readable: {line}" for line in judgement.unreadable]
    for label, result in sorted(judgement.classes.items(), key=lambda item: item[1].correct / item[1].clips):
        others = ", ".join(f"{other} {count}" for other, count in result.taken_for.items())
        lines.append(f"  {label:18} {result.correct:3}/{result.clips:<3} heard {result.heard:3}   {others}")
    return "\n".join(lines)
