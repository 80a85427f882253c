"""torchaudio's Python part works beside a torch without CUDA."""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
if importlib.util.find_spec("torchaudio") is None:
    pytest.skip("no torchaudio (extra `train`)", allow_module_level=True)

from earwitness.models.torchaudio_cpu import import_torchaudio  # noqa: E402


def test_transforms_filters_and_kaldis_features_work() -> None:
    torchaudio = import_torchaudio()
    samples = torch.from_numpy(0.1 * np.random.default_rng(1).standard_normal((1, 8000)).astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchaudio's own, on what it deprecates
        assert torchaudio.transforms.MelSpectrogram(n_mels=20)(samples).shape == (1, 20, 41)
        assert torchaudio.compliance.kaldi.fbank(samples).shape == (48, 23)
        coefficients = torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5])
        filtered = torchaudio.functional.lfilter(samples, *coefficients)
        assert filtered.shape == samples.shape
        assert torchaudio.functional.resample(samples, 16000, 8000).shape == (1, 4000)


def test_it_is_the_same_module_every_time() -> None:
    assert import_torchaudio() is import_torchaudio()


@pytest.mark.skipif(torch.version.cuda is not None, reason="torch has CUDA: torchaudio's own extension is loaded")
def test_what_needs_the_extension_says_so() -> None:
    with pytest.raises(RuntimeError, match=r"forced_align needs torchaudio's extension"):
        import_torchaudio().functional.forced_align(None, None)
