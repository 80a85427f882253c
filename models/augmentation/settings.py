"""How training windows are changed: the table `[augmentation]` of a recipe. Loads neither torch nor any sound."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from ...stream.errors import EarwitnessError

Share = Annotated[float, Meta(ge=0, le=1)]
Decibels = Annotated[float, Meta(ge=0, le=120)]
Range = tuple[float, float]

FROM_SAMPLES = ("room", "telephone", "overdrive", "compand")
"""Settings that change samples, and cannot be had from mel powers."""

LIMITS = {
    "gain_db": (-120.0, 120.0),
    "background_gain_db": (-120.0, 120.0),
    "snr_db": (-60.0, 120.0),
    "speed_range": (0.25, 4.0),
    "stretch_range": (0.25, 4.0),
    "pitch_semitones": (-24.0, 24.0),
    "rt60_s": (0.02, 5.0),
    "direct_db": (-30.0, 60.0),
    "overdrive_db": (0.0, 60.0),
    "compand_bits": (2.0, 16.0),
}
"""The lowest and the highest value of each range."""


class Augmentation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How strongly training windows are changed. Each window draws anew, evenly over a range.

    Raises:
        EarwitnessError: a range that runs backwards or beyond what makes sense.
    """

    background_share: Annotated[Share, Meta(description="of a batch: windows in which nothing happens")] = 0.2
    outside: Annotated[
        Share,
        Meta(description="time shift: how much of a window, or of a recording shorter than it, may be cut off"),
    ] = 0.5
    gain_db: Annotated[Range, Meta(description="of a window with an event, against the recording")] = (-30.0, 15.0)
    background_gain_db: Annotated[Range, Meta(description="of a window in which nothing happens")] = (-50.0, 10.0)

    between_class: Annotated[
        Share,
        Meta(description="how often two classes are mixed at one level, in shares that the target tells"),
    ] = 0.5
    mixup: Annotated[
        Share, Meta(description="how often the mean of two finished windows is taken, and of their targets")
    ] = 0.0
    mixing_alpha: Annotated[
        float, Meta(gt=0, le=100, description="both mixings' shares are of Beta(alpha, alpha); 1: any share alike")
    ] = 1.0
    mixed_targets: Annotated[
        Literal["shares", "present"],
        Meta(description="of a mixture: each label's share, which sum to 1, or 1 for all with a tenth and more"),
    ] = "shares"

    noise: Annotated[Share, Meta(description="how often a background is laid under a window")] = 0.7
    snr_db: Annotated[Range, Meta(description="how far the window's sound is above that background")] = (0.0, 35.0)
    mute: Annotated[
        Share, Meta(description="how often a background is silent for a while: a mute switch, a noise gate")
    ] = 0.3

    tilt_db: Annotated[
        Decibels, Meta(description="equaliser: most at the ends of the band, up at one, down at the other")
    ] = 6.0
    ripple_db: Annotated[Decibels, Meta(description="equaliser: standard deviation of a smooth response")] = 3.0
    band_limit: Annotated[Share, Meta(description="how often the top or the bottom of the band is missing")] = 0.2

    speed: Annotated[Share, Meta(description="how often a recording is played at another speed, pitch and all")] = 0.0
    speed_range: Annotated[Range, Meta(description="1.1: a tenth faster and higher")] = (0.85, 1.18)
    stretch: Annotated[Share, Meta(description="how often it is faster or slower at its own pitch")] = 0.0
    stretch_range: Annotated[Range, Meta(description="1.1: a tenth faster")] = (0.8, 1.25)
    pitch: Annotated[Share, Meta(description="how often it is higher or lower at its own pace")] = 0.0
    pitch_semitones: Annotated[Range, Meta(description="by how many semitones")] = (-2.0, 2.0)
    versions: Annotated[
        int,
        Meta(ge=2, le=33, description="speeds at which each recording is kept where windows are made of mel powers"),
    ] = 5

    room: Annotated[Share, Meta(description="how often it sounds in a room (of samples only)")] = 0.0
    rt60_s: Annotated[Range, Meta(description="in how many seconds the room's sound falls by 60 dB")] = (0.1, 1.0)
    direct_db: Annotated[Range, Meta(description="direct sound over reflected sound")] = (-3.0, 15.0)
    telephone: Annotated[
        Share, Meta(description="how often 300 to 3400 Hz are left, in 8-bit mu-law (of samples only)")
    ] = 0.0
    overdrive: Annotated[Share, Meta(description="how often a microphone clips (of samples only)")] = 0.0
    overdrive_db: Annotated[Range, Meta(description="how far the peaks are above where it clips")] = (1.0, 20.0)
    compand: Annotated[Share, Meta(description="how often samples have few bits, in mu-law (of samples only)")] = 0.0
    compand_bits: Annotated[Range, Meta(description="how many bits")] = (5.0, 10.0)

    mask: Annotated[Share, Meta(description="SpecAugment: how often bands and frames are hidden")] = 0.6
    mask_bands: Annotated[int, Meta(ge=0, le=16, description="stripes of bands that are hidden")] = 2
    mask_band_share: Annotated[Share, Meta(description="of the bands, that one stripe has at most")] = 0.125
    mask_times: Annotated[int, Meta(ge=0, le=16, description="stripes of frames that are hidden")] = 1
    mask_time_share: Annotated[Share, Meta(description="of the frames, that one stripe has at most")] = 1 / 6

    def __post_init__(self) -> None:
        for name, (lowest, highest) in LIMITS.items():
            low, high = getattr(self, name)
            if not lowest <= low <= high <= highest:
                raise EarwitnessError(
                    f"augmentation: {name} is [{low:g}, {high:g}]; valid: two numbers from {lowest:g} to {highest:g}, "
                    "the lower first"
                )

    @property
    def from_samples(self) -> tuple[str, ...]:
        """The settings that are on and want samples."""
        return tuple(name for name in FROM_SAMPLES if getattr(self, name))

    @property
    def kept_speeds(self) -> tuple[float, ...]:
        """The speeds at which each recording is kept where windows are made of mel powers: evenly by their logarithms,
        1 among them."""
        low = high = 0.0
        if self.speed:
            low, high = math.log(self.speed_range[0]), math.log(self.speed_range[1])
        if self.pitch:
            low, high = (edge + n / 12 * math.log(2) for edge, n in zip((low, high), self.pitch_semitones, strict=True))
        if low == high == 0.0:
            return (1.0,)
        logs = [low + (high - low) * k / (self.versions - 1) for k in range(self.versions)]
        logs[min(range(self.versions), key=lambda k: abs(logs[k]))] = 0.0
        return tuple(math.exp(each) for each in logs)

    def replace(self, **changes: Any) -> Augmentation:
        """A copy with other values, checked."""
        return msgspec.structs.replace(self, **changes)

    def without_mixing(self) -> Augmentation:
        """For choosing temperature and thresholds: each window is one class's, and nothing is hidden in it."""
        return self.replace(between_class=0.0, mixup=0.0, mask=0.0)


PLAIN = Augmentation(
    background_share=0.0, gain_db=(0.0, 0.0), background_gain_db=(0.0, 0.0), between_class=0.0, noise=0.0, mute=0.0,
    tilt_db=0.0, ripple_db=0.0, band_limit=0.0, mask=0.0,
)  # fmt: skip
"""Windows as they are in the recordings: everything off but where they are cut."""


def reference_table() -> str:
    """All settings as a table in Markdown, for docs/reference/augmentation.md."""
    hints = get_type_hints(Augmentation, include_extras=True)
    lines = ["| key | default | valid | meaning |", "| --- | --- | --- | --- |"]
    for setting in msgspec.structs.fields(Augmentation):
        default = setting.default
        text = (
            f"[{default[0]:g}, {default[1]:g}]" if isinstance(default, tuple) else msgspec.json.encode(default).decode()
        )
        shown = f"{default:.3g}" if isinstance(default, float) else text
        valid, description = _valid(setting.name, hints[setting.name].__args__[0], hints[setting.name].__metadata__)
        lines.append(f"| `{setting.name}` | `{shown}` | {valid} | {description} |")
    return "\n".join(lines) + "\n"


def _valid(name: str, kind: Any, metas: tuple[Meta, ...]) -> tuple[str, str]:
    """What a setting may be, and its description."""
    description = "".join(meta.description or "" for meta in metas)
    if name in LIMITS:
        return "two numbers, {:g} to {:g}".format(*LIMITS[name]), description
    if hasattr(kind, "__args__"):
        return ", ".join(f'`"{choice}"`' for choice in kind.__args__), description
    low = next((f"{m.ge:g}" for m in metas if m.ge is not None), "") or next(
        f"above {m.gt:g}" for m in metas if m.gt is not None
    )
    return f"{low} to " + next(f"{m.le:g}" for m in metas if m.le is not None), description


if __name__ == "__main__":
    print(reference_table(), end="")
