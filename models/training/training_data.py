"""Which clips and backgrounds a recipe trains on, chooses by and is judged by."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ...stream.errors import EarwitnessError
from ..data.background import Background, Use, rooms, speech, synthesised
from ..data.datasets import BACKGROUND, Clip, Dataset, label_problems, open_dataset, split_by_recording
from ..data.esc import credits_of as credits_of_esc
from ..data.root import data_root
from .recipe import Recipe

CREDITS = {
    "rooms": "doing_the_dishes, dude_miaowing and running_tap of Speech Commands (P. Warden, 2018), CC BY 4.0",
    "speech": "spoken digits of the Free Spoken Digit Dataset (Z. Jackson et al.), CC BY-SA 4.0",
    "synthesised": "the rest is synthesised",
}


@dataclass(frozen=True)
class TrainingData:
    """What a recipe's choice comes to.

    Attributes:
        root: the folder of the data sets, where one was named.
        training, validation: clips; a recording stands in one of them only, and in no test fold. Those with the label
            BACKGROUND are among them.
        test_folds: judged by at the end.
        labels: the model's, the background's last where it has one.
        background: BACKGROUND, or "" without that label.
    """

    recipe: Recipe
    root: Path | None
    dataset: Dataset
    training: list[Clip]
    validation: list[Clip]
    test_folds: tuple[int, ...]
    labels: list[str]
    background: str
    multi_label: bool

    def backgrounds(self, use: Use) -> list[Background]:
        """Sounds in which nothing happens: to train on, to choose by, or to be judged by. None stands in two uses."""
        chosen, sr = self.recipe.data.backgrounds, self.recipe.front_end.sr
        found: list[Background] = []
        if "synthesised" in chosen:
            seed, count = {"training": (0, 160), "choice": (1, 80), "test": (1000, 40)}[use]
            found += synthesised(seed, sr, count)
        if "rooms" in chosen:
            found += rooms(data_root(self.root), sr, use)
        if "speech" in chosen:
            found += speech(data_root(self.root), sr, use)
        return found

    @property
    def sha256(self) -> str:
        """One hash over the names and contents of all clips that are trained on or chosen by."""
        paths = {clip.path for clip in self.training + self.validation}
        lines = sorted(
            f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in paths if path.exists()
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_data(recipe: Recipe, root: Path | None, say: Callable[[str], None]) -> TrainingData:
    """Choose the clips of a recipe; what is wrong with the data set is said, a line each.

    Raises:
        EarwitnessError: no such data set, fold or licence; nothing left to train on; one label and no background.
    """
    choice, dataset = recipe.data, open_dataset(recipe.data.name, root)
    folds, test_folds = _folds(recipe, dataset)
    for problem in dataset.problems:
        say(f"{dataset.name}: {problem}")
    tested = dataset.choose(test_folds) if test_folds else []
    clips = dataset.choose(folds, choice.licences or None, without_recordings_of=tested)
    training, validation = _split(clips, choice.validation_part)
    for label in sorted({clip.label for clip in validation} - {clip.label for clip in training}):
        lonely = {clip.recording for clip in validation if clip.label == label}
        training += [clip for clip in validation if clip.recording in lonely]
        validation = [clip for clip in validation if clip.recording not in lonely]
        say(f"{dataset.name}: label {label!r} has a single recording: trained on, none is left to choose by")
    labels = sorted({label for clip in training for label in clip.labels} - {BACKGROUND})
    background = BACKGROUND if choice.backgrounds or any(clip.label == BACKGROUND for clip in training) else ""
    if len(labels) < (1 if background else 2):
        raise EarwitnessError(
            f"{dataset.name} has {len(labels)} kinds of sound to train on: two, or one and backgrounds, are needed"
        )
    for problem in label_problems(training, tested):
        say(f"{dataset.name}: {problem}")
    validation = [clip for clip in validation if set(clip.labels) <= {*labels, background}]
    say(f"{recipe.name}: {len(training)} clips of {len(labels)} sounds to train on, {len(validation)} to choose by")
    multi_label = dataset.multi_label if choice.multi_label == "auto" else choice.multi_label
    return TrainingData(
        recipe, root, dataset, training, validation, test_folds, labels + [background] * bool(background), background,
        multi_label,
    )  # fmt: skip


def _folds(recipe: Recipe, dataset: Dataset) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Those to train on, and those to judge by: where neither is said, the last round of the data's own protocol."""
    folds, tested = recipe.data.folds, recipe.data.test_folds
    if folds is None and tested is None:
        return dataset.rounds()[-1] if len(dataset.folds) > 1 else (dataset.folds, ())
    left = tuple(fold for fold in dataset.folds if fold not in (tested or ()))
    if not (folds or left):
        raise EarwitnessError(f"{dataset.name}: all of its folds, {list(dataset.folds)}, are judged by: none is left")
    return folds or left, tested or ()


def credits_of(data: TrainingData) -> str:
    """Whose recordings a bundle learnt from: a text for its folder."""
    lines = [f"{data.recipe.name} learnt from these recordings of {data.dataset.name}:", ""]
    lines += _credited(data)
    if data.recipe.data.backgrounds:
        used = [text for kind, text in CREDITS.items() if kind in data.recipe.data.backgrounds]
        lines += ["", f"Backgrounds: {'; '.join(used)}."]
    return "\n".join(lines) + "\n"


def _split(clips: list[Clip], part: float) -> tuple[list[Clip], list[Clip]]:
    """Clips to train on and to choose by: of every class about `part` of the recordings, from whatever fold."""
    if not part:
        return clips, []
    same = [dataclasses.replace(clip, fold=0) for clip in clips]
    kept = {clip.recording for clip in split_by_recording(same, 0, part, seed=0)[1]}
    return [c for c in clips if c.recording not in kept], [c for c in clips if c.recording in kept]


def _credited(data: TrainingData) -> Iterable[str]:
    clips = data.training + data.validation
    return credits_of_esc(data.dataset.folder, clips) or sorted({f"{c.path.name} {c.licence}".strip() for c in clips})
