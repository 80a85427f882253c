"""How each bundle in the box is made: the data, the network, the training. `earwitness train` takes one by its name."""

from __future__ import annotations

import msgspec

from ..stream.errors import EarwitnessError, nearest
from ..stream.features.frontend import FrontEndSpec
from .augment import Augmentation
from .data.esc import FREE_LICENCES


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides what a training run gives, its seed and the recordings aside.

    Attributes:
        data: folder of the data set under the data root, laid out as ESC-50.
        licences: only clips under these are trained on; all where None.
        folds: those trained on, a part of the last one being kept for validation.
        test_fold: judged by at the end, never chosen by.
        validation_part: of the recordings of the last training fold.
        learning_rate: the highest of the one-cycle schedule.
        averaging: decay of the running mean of the weights, which is what the bundle gets.
    """

    name: str
    description: str
    licence: str
    data: str
    licences: tuple[str, ...] | None = None
    folds: tuple[int, ...] = (1, 2, 3)
    test_fold: int = 4
    validation_part: float = 0.25
    # The band ends below what resamplers and codecs leave of 16 kHz: whether its top is there tells nothing of a sound.
    front_end: FrontEndSpec = FrontEndSpec(fmax=7000.0)
    window_frames: int = 96
    hop_frames: int = 25
    channels: tuple[int, ...] = (32, 64, 128, 256)
    depth: tuple[int, ...] = (1, 2, 2)
    dropout: float = 0.2
    augmentation: Augmentation = Augmentation()
    steps: int = 6000
    batch: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 0.02
    averaging: float = 0.998


BACKGROUND_CREDITS = (
    "Backgrounds: doing_the_dishes, dude_miaowing and running_tap of Speech Commands (P. Warden, 2018), CC BY 4.0; "
    "spoken digits of the Free Spoken Digit Dataset (Z. Jackson et al.), CC BY-SA 4.0; the rest is synthesised."
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="esc50-cnn",
            description="50 everyday sounds: a compact CNN on one second of log-mel",
            licence="Apache-2.0. Trained on the clips of ESC-50 that are CC0 or CC BY, on backgrounds under CC BY 4.0 "
            "and on speech under CC BY-SA 4.0: credits in CREDITS.txt",
            data="esc50",
            licences=FREE_LICENCES,
            steps=6000,
        ),
        Recipe(
            name="esc10-cnn",
            description="ten everyday sounds of ESC-10: a compact CNN on one second of log-mel",
            licence="Apache-2.0. Trained on ESC-10, which is CC BY 3.0 as a whole, on backgrounds under CC BY 4.0 "
            "and on speech under CC BY-SA 4.0: credits in CREDITS.txt",
            data="esc10",
            steps=4000,
        ),
    )
}


def recipe_named(name: str) -> Recipe:
    """The recipe of that name; EarwitnessError with the nearest one when there is none."""
    if name not in RECIPES:
        raise EarwitnessError(f"no recipe {name!r}: {nearest(name, RECIPES)}")
    return RECIPES[name]
