"""The front end on torch tensors, on a CPU or a GPU: the numbers of `stream.features`, from the same spec.

`TorchFrontEnd` takes batches of whole signals and lets gradients through; `frontend_streams.TorchStreams` takes blocks
of many live streams. What lives on a board, in a capture process or in the training here is the numpy front end; this
one is for a server whose GPU listens to a thousand streams, and for training on waveforms.

**The same numbers** are 1e-5 relative and 1e-4 dB beside `stream.features.frontend.compute`, as far as single precision
goes: what lies 60 dB and more below a frame's loudest bin is rounding on both sides. All of it is computed in float32,
also under autocast and where TF32 is allowed: `frontend_batch.Sums` says how.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ..stream.features.delta import parse_delta
from ..stream.features.spec import FrontEndSpec
from .frontend_batch import Tables, TensorBatch
from .frontend_deltas import deltas
from .frontend_features import TensorFeature, tensor_feature

__all__ = ["FrontEndSpec", "TorchFrontEnd"]


class TorchFrontEnd(nn.Module):
    """Frames of whole signals, `compute` of `stream.features.frontend` for a batch of them.

    Signals of one batch have one length; each length is traced by itself (`torch.jit.trace`, `torch.export`).

    To train on waveforms, put what changes them before it and the network behind it, all on one device:

        front_end = TorchFrontEnd(spec, device="cuda")
        gains = 10 ** (torch.empty(len(batch), 1, device="cuda").uniform_(-30, 15) / 20)
        logits = network(front_end(batch * gains + noise))

    (`models.audio_batches` does so. `models.power_batches` mixes mel powers instead, which costs a tenth and needs no
    GPU; what it cannot do are changes that are not a factor for each band: reverberation, clipping, codecs.)

    Args:
        spec: the front end.
        device: where the tables lie and the frames are computed.

    Attributes:
        before, after: samples beside each frame that its features look at.
        computed_dims: values per frame that are computed, each once, before any deltas.
        parts: for each feature of the spec its columns among these, and the order of its delta.

    Raises:
        EarwitnessError: where a feature of the spec is not to be had on tensors.

    Shape: waveforms float32 `[batch, samples]`, full scale -1..1 -> float32 `[batch, frames, dims]`.

    >>> TorchFrontEnd(FrontEndSpec())(torch.zeros(2, 16000)).shape
    torch.Size([2, 97, 64])
    """

    def __init__(self, spec: FrontEndSpec, device: str | torch.device = "cpu") -> None:
        super().__init__()
        self.spec = spec
        parsed = [parse_delta(name) for name in spec.features]
        names = list(dict.fromkeys(name for name, _ in parsed))
        self.features = nn.ModuleList(tensor_feature(name, spec) for name in names)
        ends = np.cumsum([feature.dims for feature in self.ordered()]).tolist()
        columns = [slice(end - feature.dims, end) for end, feature in zip(ends, self.ordered(), strict=True)]
        self.computed_dims = ends[-1]
        self.parts = [(columns[names.index(name)], order) for name, order in parsed]
        self.before = max(feature.before for feature in self.ordered())
        self.after = max(feature.after for feature in self.ordered())
        self.tables = Tables(spec)
        self.to(device)

    def forward(self, waveforms: Tensor) -> Tensor:
        if waveforms.ndim != 2:
            raise TypeError(f"waveforms are [batch, samples], not {list(waveforms.shape)}")
        waveforms = waveforms.to(torch.float32)
        streams, count, device = waveforms.shape[0], self.spec.frames_of(waveforms.shape[1]), waveforms.device
        if not count or not streams:
            return waveforms.new_zeros(streams, count, self.spec.dims)
        opening = torch.ones(streams, dtype=torch.bool, device=device)
        batch = self.batch(self._padded(waveforms), count, opening)
        values = [feature(batch, feature.fresh(streams, device))[0] for feature in self.ordered()]
        return self.outputs(torch.cat(values, -1))

    def outputs(self, values: Tensor) -> Tensor:
        """The spec's features in its order, deltas included, of whole segments of `[batch, frames, computed_dims]`."""
        width = self.spec.delta_width
        parts = [deltas(values[..., part], width, order) if order else values[..., part] for part, order in self.parts]
        return torch.cat(parts, -1)

    def batch(self, samples: Tensor, count: int, opening: Tensor) -> TensorBatch:
        """What the features are computed of: `samples` from `self.before` samples before the first frame on."""
        return TensorBatch(self.spec, self.tables, samples, self.before, count, opening)

    def _padded(self, waveforms: Tensor) -> Tensor:
        """The signals with what lies outside of them."""
        lead = self.spec.lead
        if lead and self.spec.pad_mode != "constant":
            places = np.pad(np.arange(waveforms.shape[1]), lead, mode=self.spec.pad_mode)
            waveforms = waveforms[:, torch.from_numpy(places).to(waveforms.device)]
            lead = 0
        return pad(waveforms, (self.before + lead, lead + self.after))

    def ordered(self) -> list[TensorFeature]:
        """The features to compute, each once."""
        return [feature for feature in self.features if isinstance(feature, TensorFeature)]
