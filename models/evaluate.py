"""Judge a bundle on clips and backgrounds, through the front end, window rule, runtime and detector that run live.

earwitness evaluate --model esc50-cnn --data esc50 --folds 4 --json
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..stream.detect import Detector, Start
from ..stream.detect_settings import detect_settings
from ..stream.errors import EarwitnessError, nearest
from ..stream.features.frontend import clean, compute, silence
from ..stream.windowing import windows_of
from .bundle import Bundle
from .data.audio import read_clip
from .data.background import Background, real, synthesised
from .data.cache import FeatureCache
from .data.clip import Clip, Dataset
from .data.datasets import open_dataset
from .data.loading import in_threads
from .data.root import data_root
from .judging.cost import TIMED, cost_of
from .judging.judgement import FalseAlarms, Heard, Hearing, Judgement, Unit, judge
from .judging.judgement_text import report
from .judging.label_map import LabelMap, find_label_map, label_map_names
from .judging.metrics import is_exclusive
from .judging.report_html import write_report
from .judging.unheard import folds_to_judge, heard_in_training
from .runtime import Runtime, open_runtime
from .runtimes.scorer import Scorer

__all__ = [
    "FalseAlarms", "Judgement", "evaluate_bundle", "false_alarms", "hear", "held_out_backgrounds", "listen", "report",
]  # fmt: skip

Array = NDArray[np.float32]

BATCH_VALUES = 1 << 22  # of the windows of several clips that are scored together, 16 MiB


def evaluate_bundle(
    bundle: Bundle,
    data: str = "esc50",
    root: Path | None = None,
    folds: Collection[int] | None = None,
    licences: Collection[str] | None = None,
    device: str = "cpu",
    label_map: str | None = None,
    unit: Unit = "clip",
    backgrounds: bool = False,
    page: Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> Judgement:
    """Name every clip of the chosen folds and licences, and say how well.

    Args:
        data, root: see `open_dataset`.
        folds: None is those that the bundle was not trained on.
        label_map: see `find_label_map`; None takes the one in the box for this model and data, where there is one.
        unit: judged by clips, or by single windows.
        backgrounds: whether false alarms are counted too, on backgrounds that no training of ours has heard.
        page: an HTML file with pictures to write; see `report_html`.
        progress: is told the share of the clips that are heard, 0..1.

    Raises:
        EarwitnessError: no such data, fold or licence, or the model knows none of its classes.
    """
    runtime = open_runtime(bundle, device)
    hearing = hear(bundle, open_dataset(data, root), root, folds, licences, runtime, label_map, progress)
    judgement = judge(hearing, unit, cost_of(bundle, runtime, some_windows(bundle, hearing.clips)))
    if backgrounds:
        held_out = held_out_backgrounds(data_root(root), bundle.manifest.front_end.sr)
        judgement = msgspec.structs.replace(judgement, false_alarms=false_alarms(bundle, runtime, held_out))
    if page is not None:
        write_report(page, judgement, hearing, bundle)
    return judgement


def hear(
    bundle: Bundle,
    dataset: Dataset,
    root: Path | None = None,
    folds: Collection[int] | None = None,
    licences: Collection[str] | None = None,
    runtime: Runtime | None = None,
    label_map: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> Hearing:
    """What the bundle makes of the clips; see `evaluate_bundle`. Files that cannot be read are told, not fatal."""
    chosen, notes = folds_to_judge(bundle, dataset, folds)
    clips = dataset.choose(chosen, licences)
    columns = _Columns(bundle, dataset, clips, label_map)
    known = [clip for clip in clips if any(label in columns.labels for label in clip.labels)]
    unknown = sorted({label for clip in clips for label in clip.labels} - set(columns.labels))
    if not known:
        raise EarwitnessError(
            f"{bundle.manifest.name} knows none of the classes of {dataset.name}: {unknown[0]!r}: "
            f"{nearest(unknown[0], columns.labels)} A --label-map tells which of its labels mean them"
        )
    notes += heard_in_training(bundle, dataset, known, root)
    unreadable: list[str] = []
    heard, exclusive = [], True
    for clip, scores, events in _heard(bundle, runtime or open_runtime(bundle, "cpu"), known, unreadable, notes):
        exclusive = exclusive and (not len(scores) or is_exclusive(scores))
        heard.append(Heard(clip, columns.of_scores(scores), columns.of_events(events)))
        if progress is not None:
            progress((len(heard) + len(unreadable)) / len(known))
    if not heard:
        raise EarwitnessError(f"none of the {len(known)} clips of {dataset.name} can be read: {unreadable[0]}")
    return Hearing(
        model=bundle.tag,
        data=dataset.name,
        protocol=dataset.protocol,
        folds=tuple(sorted({clip.fold for clip in known})),
        label_map=columns.map.name if columns.map else "",
        labels=columns.labels,
        thresholds=columns.thresholds,
        exclusive=exclusive and not bundle.manifest.multi_label,
        multi_label=any(clip.further_labels for clip in known),
        clips=heard,
        skipped=len(clips) - len(known),
        unknown={label: _hint(label, columns.labels) for label in unknown},
        unreadable=unreadable,
        notes=[*dataset.problems, *notes],
    )


def _hint(label: str, labels: Sequence[str]) -> str:
    """The nearest of the labels; "" where none is near."""
    hint = nearest(label, labels)
    return hint if hint.startswith("did you mean") else ""


def listen(bundle: Bundle, runtime: Runtime, samples: Array) -> tuple[Array, list[str]]:
    """What one sound gives, as it would live: scores [windows, labels], and the label of each event that begins.

    Args:
        samples: float32 [samples], mono at the front end's rate.
    """
    frames = compute(bundle.manifest.front_end, clean(samples)[0])
    (scores,) = _scores(bundle, runtime, [frames])
    return scores, _events(bundle, frames, scores)


def false_alarms(bundle: Bundle, runtime: Runtime, backgrounds: Iterable[Background]) -> dict[str, FalseAlarms]:
    """The events in sounds without any, by kind; real rooms and speakers by their names."""
    seconds: Counter[str] = Counter()
    labels: dict[str, Counter[str]] = {}
    for background in backgrounds:
        kind = background.kind + (f" {background.name}" if background.kind in ("room", "speech") else "")
        seconds[kind] += len(background.samples)
        labels.setdefault(kind, Counter()).update(listen(bundle, runtime, background.samples)[1])
    alarms = {}
    for kind, heard in labels.items():
        time_s, events = seconds[kind] / bundle.manifest.front_end.sr, heard.total()
        alarms[kind] = FalseAlarms(
            seconds=time_s, events=events, per_hour=events * 3600 / time_s, labels=dict(heard.most_common())
        )
    return alarms


def held_out_backgrounds(root: Path, sr: int, seed: int = 1000) -> list[Background]:
    """Backgrounds that no training run of ours has heard: a room, a speaker, and noise from another seed."""
    return [*real(root, sr, "test"), *synthesised(seed, sr, count=40)]


def _scores(bundle: Bundle, runtime: Runtime, sounds: Sequence[Array]) -> list[Array]:
    """Scores [windows, labels] of each sound's frames [frames, dims], as if it were alone: a batch changes no bit.

    The sounds are streams of one `Scorer`, as live; they are heard together where the runtime gives the same bits then
    as by themselves.
    """
    manifest = bundle.manifest
    fill = silence(manifest.front_end)
    cut = [windows_of(frames, manifest.window_frames, manifest.hop_frames, fill) for frames in sounds]
    if len(cut) > 1:
        streams = [number for number, windows in enumerate(cut) for _ in windows]
        scores = Scorer(runtime, manifest.states).scores(np.concatenate(cut), streams)
        together = np.split(scores, np.cumsum([len(windows) for windows in cut])[:-1])
        if all(np.array_equal(together[at], runtime.scores(cut[at])) for at in (0, len(cut) // 2, -1)):
            return together
    return [runtime.scores(windows) for windows in cut]


def _events(bundle: Bundle, frames: Array, scores: Array) -> list[str]:
    """The label of each event that begins in one sound."""
    manifest, spec = bundle.manifest, bundle.manifest.front_end
    detector = Detector(
        manifest.labels, manifest.background, manifest.thresholds, detect_settings(manifest.detection), spec,
        window_frames=manifest.window_frames, hop_frames=manifest.hop_frames, rate=spec.sr,
    )  # fmt: skip
    detector.hear(0, frames)
    decisions = [*detector.push(0, scores), *detector.flush()]
    return [decision.label for decision in decisions if isinstance(decision, Start)]


def _heard(
    bundle: Bundle, runtime: Runtime, clips: Sequence[Clip], unreadable: list[str], notes: list[str]
) -> Iterator[tuple[Clip, Array, list[str]]]:
    """Each clip that can be read with its scores and events, in order."""
    manifest = bundle.manifest
    together = max(1, BATCH_VALUES // (manifest.window_frames * manifest.front_end.dims))  # windows
    waiting: list[tuple[Clip, Array]] = []

    def answers() -> Iterator[tuple[Clip, Array, list[str]]]:
        every = _scores(bundle, runtime, [frames for _, frames in waiting])
        for (clip, frames), scores in zip(waiting, every, strict=True):
            yield clip, scores, _events(bundle, frames, scores)
        waiting.clear()

    for clip, frames in in_threads(clips, _reader(bundle, notes.append)):
        if isinstance(frames, EarwitnessError):
            unreadable.append(str(frames))
            continue
        waiting.append((clip, frames))
        if sum(len(each) // manifest.hop_frames for _, each in waiting) >= together:
            yield from answers()
    yield from answers()


def _reader(bundle: Bundle, say: Callable[[str], None]) -> Callable[[Clip], Array]:
    """What makes frames of a clip; they are kept in the cache, unless they are the samples themselves."""
    spec = bundle.manifest.front_end
    if spec.feature == "waveform":
        return lambda clip: compute(spec, clean(read_clip(clip, spec.sr, say))[0])
    cache = FeatureCache()
    return lambda clip: cache.frames(clip, spec, say)


class _Columns:
    """The labels that are judged: the model's events, or those of a label map; and the background where data has it."""

    def __init__(self, bundle: Bundle, dataset: Dataset, clips: Sequence[Clip], label_map: str | None) -> None:
        manifest = bundle.manifest
        self._all = manifest.labels
        boxed = f"{manifest.name}-{dataset.name}"
        name = label_map or (boxed if boxed in label_map_names() else None)
        self.map: LabelMap | None = find_label_map(name) if name else None
        if self.map:
            self.map.check(self._all)
            self.labels = list(self.map.labels)
        else:
            with_background = any(clip.label == manifest.background for clip in clips)
            self.labels = list(manifest.labels) if with_background else manifest.events
        self.thresholds = {label: manifest.thresholds.get(label, 0.5) for label in self.labels}

    def of_scores(self, scores: Array) -> Array:
        if self.map:
            return self.map.apply(scores, self._all)
        return scores[:, [self._all.index(label) for label in self.labels]]

    def of_events(self, events: Iterable[str]) -> tuple[str, ...]:
        if self.map:
            return tuple(target for label in events for target in self.map.targets_of(label))
        return tuple(events)


def some_windows(bundle: Bundle, heard: Sequence[Heard]) -> Array:
    """As many windows as are timed, of the first clips."""
    manifest, read = bundle.manifest, _reader(bundle, lambda note: None)
    windows: list[Array] = []
    for each in heard:
        frames = read(each.clip)
        windows.append(windows_of(frames, manifest.window_frames, manifest.hop_frames, silence(manifest.front_end)))
        if sum(map(len, windows)) >= TIMED:
            break
    return np.concatenate(windows)[:TIMED]
