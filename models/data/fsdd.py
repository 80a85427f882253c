"""Free Spoken Digit Dataset (Z. Jackson et al., https://github.com/Jakobovski/free-spoken-digit-dataset).

A folder holds `recordings/DIGIT_SPEAKER_TAKE.wav`. Two ways to judge by it: `fsdd` is the official split, takes 0 to 4
of every digit and speaker against the others; `fsdd-speakers` leaves one speaker out at a time, a fold each.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...stream.errors import EarwitnessError
from .clip import Clip, Dataset
from .table import check_some, counted

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TRAINING, TEST = 1, 2  # folds of the official split
TEST_TAKES = 5  # 0 to 4

_NAME = re.compile(r"(\d)_([^_]+)_(\d+)\.(wav|flac|ogg)", re.IGNORECASE)


def open_fsdd(name: str, folder: Path, by_speaker: bool = False) -> Dataset:
    """The data set in a folder.

    Args:
        by_speaker: folds are speakers, in the order of their names, and a speaker is one `recording`; else folds are
            TRAINING and TEST, and a take is one.

    Raises:
        EarwitnessError: there is no such recording.
    """
    recordings = folder / "recordings"
    if not recordings.is_dir():
        raise EarwitnessError(f"{folder} is not the Free Spoken Digit Dataset: it has no folder 'recordings'")
    files = sorted(path for path in recordings.iterdir() if path.is_file() and not path.name.startswith("."))
    named = [(path, found) for path in files if (found := _NAME.fullmatch(path.name))]
    strange = [path.name for path in files if not _NAME.fullmatch(path.name)]
    problems = counted("of another name than DIGIT_SPEAKER_TAKE.wav", strange)
    speakers = sorted({found[2] for _, found in named})
    clips = tuple(
        Clip(
            path,
            DIGITS[int(found[1])],
            1 + speakers.index(found[2]) if by_speaker else TEST if int(found[3]) < TEST_TAKES else TRAINING,
            f"fsdd {found[2]}" if by_speaker else f"fsdd {path.stem}",
            "CC-BY-SA",
        )
        for path, found in named
    )
    check_some(name, folder, clips, problems)
    if by_speaker:
        names = {1 + number: speaker for number, speaker in enumerate(speakers)}
        protocol = "each speaker is judged after training on the others"
        return Dataset(name, folder, clips, protocol, fold_names=names, problems=tuple(problems))
    return Dataset(
        name, folder, clips, "takes 0 to 4 are judged after training on the others", (TEST,),
        {TRAINING: "training", TEST: "test"}, tuple(problems),
    )  # fmt: skip
