"""Read every file of a data set, and say what it holds and what is wrong with it."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...stream.errors import EarwitnessError
from ...stream.sources.recording import Recording
from .audio import audio_blocks
from .clip import BACKGROUND, Clip, Dataset
from .datasets import DATASETS, open_dataset
from .loading import in_threads
from .root import data_root
from .table import counted

FEWEST = 5  # clips of a class, below which it can hardly be learnt or judged


@dataclass
class Check:
    """What was found.

    Attributes:
        broken: lines about files that are not there, cannot be read or are cut off.
        notes: lines about what can be used and should be known: silence, one sound under two labels, rare classes.
    """

    dataset: Dataset
    seconds: float = 0.0
    rates: Counter[int] = field(default_factory=Counter)  # Hz -> files
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Sound:
    rate: int
    samples: int
    silent: bool
    digest: bytes
    notes: tuple[str, ...]


def check_dataset(
    name: str,
    root: str | Path | None = None,
    progress: Callable[[float], None] | None = None,
    workers: int | None = None,
) -> Check:
    """Decode every clip of a data set to its end.

    Args:
        name, root: as for `open_dataset`.
        progress: is told how far it is, 0..1.
        workers: threads; the number of CPUs when None.

    Raises:
        EarwitnessError: there is no such data set, or not one clip of it.
    """
    dataset = open_dataset(name, root)
    check = Check(dataset)
    check.broken += [line for line in dataset.problems if "not there" in line]
    check.notes += [line for line in dataset.problems if "not there" not in line]
    silent: list[str] = []
    alike: defaultdict[bytes, list[Clip]] = defaultdict(list)
    for done, (clip, sound) in enumerate(in_threads(dataset.clips, _listen, workers), 1):
        if progress is not None:
            progress(done / len(dataset.clips))
        if isinstance(sound, EarwitnessError):
            check.broken.append(str(sound))
            continue
        check.seconds += sound.samples / sound.rate
        check.rates[sound.rate] += 1
        check.broken += sound.notes
        if sound.silent:
            silent.append(str(clip.path))
        else:
            alike[sound.digest].append(clip)
    check.notes += counted("silent from end to end", silent) + _doubled(alike) + _rare(dataset) + _parted(dataset)
    return check


def check_lines(check: Check) -> list[str]:
    """The check for a person."""
    dataset = check.dataset
    folds = Counter(clip.fold for clip in dataset.clips)
    names = {
        fold: f"{fold} ({dataset.fold_names[fold]})" if fold in dataset.fold_names else f"{fold}" for fold in folds
    }
    licences = Counter(clip.licence for clip in dataset.clips if clip.licence)
    background = sum(clip.label == BACKGROUND for clip in dataset.clips)
    lines = [
        f"{dataset.name} in {dataset.folder}: {len(dataset.clips)} clips of {len(dataset.labels)} classes, "
        f"{_duration(check.seconds)}" + (f", {background} of them background" if background else ""),
        "folds: " + ", ".join(f"{names.get(fold, fold)}: {folds[fold]}" for fold in sorted(folds)),
        f"judged: {dataset.protocol}",
        "rates: " + ", ".join(f"{rate} Hz: {count}" for rate, count in sorted(check.rates.items())),
    ]
    if licences:
        lines.append("licences: " + ", ".join(f"{licence}: {count}" for licence, count in licences.most_common()))
    lines += [f"broken: {line}" for line in check.broken] + [f"note: {line}" for line in check.notes]
    return [*lines, f"{len(check.broken)} broken" if check.broken else "every file can be read"]


def list_lines(root: str | Path | None = None) -> list[str]:
    """The data sets that can be named, and which of them are there."""
    lines = []
    for name, about in DATASETS.items():
        lines.append(f"{name:14} {about}")
        try:
            dataset = open_dataset(name, root)
        except EarwitnessError:
            continue
        lines.append(f"{'':14} {len(dataset.clips)} clips in {dataset.folder}")
    try:
        lines.append(f"looked for in {data_root(root)}")
    except EarwitnessError as error:
        lines.append(str(error))
    return lines


def _listen(clip: Clip) -> _Sound:
    """Decodes a clip at its own rate, in the memory of a block."""
    with Recording(str(clip.path)) as opened:
        rate = opened.rate
    digest, samples, peak = hashlib.blake2b(digest_size=16), 0, 0.0
    notes: list[str] = []
    for block in audio_blocks(clip.path, rate, clip.start_s, clip.end_s, notes.append):
        digest.update(np.ascontiguousarray(block).data)
        samples += len(block)
        peak = max(peak, float(np.abs(block).max()))
    return _Sound(rate, samples, peak == 0, digest.digest(), tuple(notes))


def _doubled(alike: dict[bytes, list[Clip]]) -> list[str]:
    """A line about each sound that is there more than once in a way that spoils training or judging."""
    lines = []
    for clips in alike.values():
        names = ", ".join(clip.path.name for clip in clips)
        if len({clip.label for clip in clips}) > 1:
            lines.append(
                f"the same sound under the labels {', '.join(sorted({clip.label for clip in clips}))}: {names}"
            )
        elif len({clip.recording for clip in clips}) > 1:
            lines.append(f"the same sound as several recordings, which may stand on both sides of a split: {names}")
    return lines


def _rare(dataset: Dataset) -> list[str]:
    counts = Counter(label for clip in dataset.clips for label in clip.labels if label != BACKGROUND)
    rare = [f"{label} {count}" for label, count in sorted(counts.items()) if count < FEWEST]
    return [f"classes of fewer than {FEWEST} clips: {', '.join(rare)}"] if rare else []


def _parted(dataset: Dataset) -> list[str]:
    folds = defaultdict(set)
    for clip in dataset.clips:
        folds[clip.recording].add(clip.fold)
    parted = sorted(recording for recording, those in folds.items() if len(those) > 1)
    if not parted or dataset.test_folds:
        return []
    return [f"recordings that stand in several folds, and are never trained on and judged at once: {', '.join(parted)}"]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
