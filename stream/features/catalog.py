"""All features by name, and what the features of a spec need around their frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import EarwitnessError, nearest
from . import chroma, cwt, levels, mel, mfcc, pcen, spectral, spectral_bands, stft, time_domain
from .delta import parse_delta
from .feature import Feature
from .waveform import Waveform

if TYPE_CHECKING:
    from .spec import FrontEndSpec

FEATURES: dict[str, type[Feature]] = {
    "waveform": Waveform,
    **time_domain.FEATURES,
    **levels.FEATURES,
    **spectral.FEATURES,
    **spectral_bands.FEATURES,
    **stft.FEATURES,
    **mel.FEATURES,
    **mfcc.FEATURES,
    **pcen.FEATURES,
    **chroma.FEATURES,
    **cwt.FEATURES,
}


def find_feature(name: str) -> type[Feature]:
    """The class of a feature, NAME_delta's being that of NAME. Raises EarwitnessError on an unknown one."""
    computed, _ = parse_delta(name)
    if computed in FEATURES:
        return FEATURES[computed]
    raise EarwitnessError(f"front end: unknown feature {name!r}; {nearest(name, FEATURES)}")


class Reach(NamedTuple):
    """Samples beside a frame that must be known before it is out."""

    before: int
    after: int


def reach(spec: FrontEndSpec) -> Reach:
    """What the features of a spec look at beside each frame; deltas look at whole frames that follow."""
    features = [find_feature(name)(spec) for name in spec.features]
    later = spec.delta_width // 2 * spec.hop_length if any(parse_delta(name)[1] for name in spec.features) else 0
    return Reach(max(feature.before for feature in features), later + max(feature.after for feature in features))
