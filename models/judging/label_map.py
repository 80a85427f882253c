"""Lets a model be judged by labels that are not its own: YAMNet, which knows 521 sounds, by the ten of ESC-10.

A map is a TOML file that names, for each label of the data, the model's labels that mean it:

    description = "what I call my sounds"
    combine = "max"                   # or "sum": what becomes of the scores of several

    [labels]
    dog = ["Bark", "Howl"]

Those in the box are called MODEL-DATA, as `yamnet-esc10`, and are found by that name without being asked for.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...stream.errors import EarwitnessError, nearest

FOLDER = Path(__file__).resolve().parent / "label_maps"

Array = NDArray[np.float32]


class LabelMap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which labels of a model mean which label of the data.

    Attributes:
        combine: a label's score is the greatest of its sources' scores, or their sum, 1 at most.
        labels: the model's labels by the data's.
        name: of the file, without the suffix.
    """

    labels: dict[str, Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]]
    description: str = ""
    combine: Literal["max", "sum"] = "max"
    name: str = ""

    def check(self, labels: Sequence[str]) -> None:
        """EarwitnessError when the map names a label that the model does not have, with the nearest one."""
        for target, sources in self.labels.items():
            for source in sources:
                if source not in labels:
                    raise EarwitnessError(
                        f"label map {self.name}: {target}: the model knows no {source!r}; {nearest(source, labels)}"
                    )

    def apply(self, scores: Array, labels: Sequence[str]) -> Array:
        """Scores [windows, targets] of the map's labels, in order, from scores [windows, labels] of the model's."""
        columns = [
            scores[:, [labels.index(source) for source in dict.fromkeys(sources)]] for sources in self.labels.values()
        ]
        if self.combine == "max":
            combined = [column.max(axis=1) for column in columns]
        else:
            combined = [np.minimum(column.sum(axis=1), np.float32(1)) for column in columns]
        return np.stack(combined, axis=1)

    def targets_of(self, label: str) -> list[str]:
        """The labels of the data that a label of the model may mean."""
        return [target for target, sources in self.labels.items() if label in sources]


def find_label_map(name: str) -> LabelMap:
    """The map in the box of that name, or the TOML file that `name` is a path of.

    Raises:
        EarwitnessError: there is none, with the nearest name; or it is no label map.
    """
    boxed = FOLDER / f"{name}.toml"
    path = boxed if len(Path(name).parts) == 1 and boxed.is_file() else Path(name)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return msgspec.convert({"name": path.stem} | values, LabelMap)
    except OSError:
        raise EarwitnessError(f"no label map {name!r}: {nearest(name, label_map_names())}, or a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EarwitnessError(f"label map {path} is no TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise EarwitnessError(f"label map {path}: {error}") from error


def label_map_names() -> list[str]:
    """The names of the maps in the box, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))
