"""What a data set is: labelled clips in folds, and which of them may never be parted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...stream.errors import EarwitnessError, nearest

BACKGROUND = "background"
"""The label of what is no event: silence, noise, rooms."""

NOT_EVENTS = ("background", "noise", "silence", "other")
"""Names of folders and labels that mean BACKGROUND, as other programs' training folders have them."""

FREE_LICENCES = ("CC0", "CC-BY")


@dataclass(frozen=True)
class Clip:
    """One labelled sound: a file, or a part of one.

    Attributes:
        path: the file.
        label: what it is; BACKGROUND where it is no event.
        fold: the part of the data set it belongs to.
        recording: clips with the same one come from the same recording and never stand on both sides of a split.
        licence: "" where the data set does not say it clip by clip.
        start_s, end_s: which seconds of the file; None is its end.
        further_labels: what sounds beside `label`.
    """

    path: Path
    label: str
    fold: int
    recording: str
    licence: str = ""
    start_s: float = 0.0
    end_s: float | None = None
    further_labels: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """All that sounds in it, `label` first."""
        return (self.label, *self.further_labels)


@dataclass(frozen=True)
class Dataset:
    """A data set as it lies on the disk.

    Attributes:
        name: what `open_dataset` was asked for.
        folder: where it lies.
        clips: all that are there, in the order of its table.
        protocol: how it is judged, one line for a person.
        test_folds: the folds of the official test; () where each fold is the test in turn.
        fold_names: what a fold stands for where it is more than a number: a speaker, "train", "test".
        problems: what a person should know, a line each: files that are missing, labels with hardly a clip.
    """

    name: str
    folder: Path
    clips: tuple[Clip, ...] = field(repr=False)
    protocol: str
    test_folds: tuple[int, ...] = ()
    fold_names: Mapping[int, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def folds(self) -> tuple[int, ...]:
        """The folds of which there are clips, ascending."""
        return tuple(sorted({clip.fold for clip in self.clips}))

    @property
    def labels(self) -> tuple[str, ...]:
        """The events' labels, sorted; without the background."""
        return tuple(sorted({label for clip in self.clips for label in clip.labels} - {BACKGROUND}))

    @property
    def multi_label(self) -> bool:
        """Whether several things sound at once in some clip."""
        return any(clip.further_labels for clip in self.clips)

    def rounds(self) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """(folds to train on, folds to judge by) of the official protocol, a pair for each time that is trained.

        Raises:
            EarwitnessError: there are fewer than two folds.
        """
        if len(self.folds) < 2:
            raise EarwitnessError(f"{self.name}: one fold only, {self.folds[0]}: there is nothing left to judge by")
        tests = [self.test_folds] if self.test_folds else [(fold,) for fold in self.folds]
        return [(tuple(fold for fold in self.folds if fold not in test), test) for test in tests]

    def choose(
        self,
        folds: Collection[int] | None = None,
        licences: Collection[str] | None = None,
        without_recordings_of: Iterable[Clip] = (),
    ) -> list[Clip]:
        """The clips of some folds and licences (all when None), in order.

        Args:
            without_recordings_of: recordings that are left out, whatever their folds: those that are judged by.

        Raises:
            EarwitnessError: nothing is left, with the nearest fold or licence.
        """
        _check_known(self.name, "fold", folds or (), self.folds)
        if licences is not None and not any(clip.licence in licences for clip in self.clips):
            _check_known(self.name, "clip under", licences, {clip.licence or "none told" for clip in self.clips})
        out = {clip.recording for clip in without_recordings_of}
        chosen = [
            clip
            for clip in self.clips
            if (folds is None or clip.fold in folds)
            and (licences is None or clip.licence in licences)
            and clip.recording not in out
        ]
        if not chosen:
            under = "" if licences is None else f" under {', '.join(sorted(licences))}"
            where = "" if folds is None else f" in the folds {', '.join(map(str, sorted(folds)))}"
            raise EarwitnessError(f"{self.name} has no clip{where}{under}")
        return chosen


def event_label(text: str) -> str:
    """A label as a person or a folder's name gives it, with everything that is no event under one name.

    >>> event_label(" dog "), event_label("Noise")
    ('dog', 'background')
    """
    text = text.strip()
    return BACKGROUND if text.casefold() in NOT_EVENTS else text


def _check_known(name: str, what: str, asked: Iterable[object], known: Iterable[object]) -> None:
    texts = {str(each) for each in known}
    for each in asked:
        if str(each) not in texts:
            raise EarwitnessError(f"{name} has no {what} {str(each)!r}; {nearest(str(each), texts)}")
