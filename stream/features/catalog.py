"""All features by name, and how far the features of a spec look ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


def look_ahead(spec: FrontEndSpec) -> int:
    """Samples behind a frame that must be known before it is out; deltas look at whole frames that follow."""
    later = spec.delta_width // 2 * spec.hop_length if any(parse_delta(name)[1] for name in spec.features) else 0
    return later + max(find_feature(name)(spec).after for name in spec.features)
