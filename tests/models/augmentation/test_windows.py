from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (extra train)")

from earwitness.models.augmentation.draws import Draws  # noqa: E402
from earwitness.models.augmentation.settings import PLAIN  # noqa: E402
from earwitness.models.augmentation.windows import hidden, mixed_up  # noqa: E402

SIZE, FRAMES, DIMS = 400, 60, 40
MASKING = PLAIN.replace(mask=1.0, mask_bands=0, mask_times=0)


def windows() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(0, 10, (SIZE, FRAMES, DIMS)).astype(np.float32))


def test_stripes_of_the_stated_width_are_hidden_at_the_mean_and_the_rest_is_untouched() -> None:
    before = windows()
    after = hidden(before.clone(), Draws((0,)), MASKING.replace(mask_bands=1, mask_band_share=0.25))
    changed = (after != before).numpy()
    widths = changed.any(axis=1).sum(axis=1)
    assert (changed.all(axis=1) == changed.any(axis=1)).all()  # whole bands
    assert (widths.min(), widths.max()) == (1, 10)
    assert widths.mean() == pytest.approx(5.5, abs=0.4)
    for row in range(0, SIZE, 40):
        np.testing.assert_allclose(after[row][changed[row]], float(before[row].mean()), atol=1e-4)
    assert changed.any(axis=1).mean(axis=0).min() > 0.02  # wherever they may lie


def test_frames_are_hidden_too_and_only_as_often_as_asked() -> None:
    before = windows()
    settings = MASKING.replace(mask=0.3, mask_times=2, mask_time_share=0.1)
    changed = (hidden(before.clone(), Draws((0,)), settings) != before).numpy()
    assert (changed.all(axis=2) == changed.any(axis=2)).all()
    count = changed.any(axis=2).sum(axis=1)
    assert count.max() <= 12
    assert (count > 0).mean() == pytest.approx(0.3, abs=0.06)
    assert torch.equal(hidden(before.clone(), Draws((0,)), settings.replace(mask=0.0)), before)
    assert torch.equal(hidden(before.clone(), Draws((0,)), settings.replace(mask_times=0)), before)


def test_mixup_takes_the_mean_of_windows_and_targets_in_the_same_shares() -> None:
    before, targets = windows(), np.eye(SIZE, dtype=np.float32)
    after, mixed = mixed_up(before, targets, Draws((0,)), PLAIN.replace(mixup=1.0))
    np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-6)
    expected = np.einsum("ab,bft->aft", mixed, before.numpy())
    np.testing.assert_allclose(after, expected, atol=1e-4)
    shares = np.diag(mixed)
    assert 0.25 < shares.std() < 0.33  # even from 0 to 1
    _, mixed = mixed_up(before, targets, Draws((0,)), PLAIN.replace(mixup=1.0, mixing_alpha=50.0))
    assert np.diag(mixed).std() < 0.06
    _, mixed = mixed_up(before, targets, Draws((0,)), PLAIN.replace(mixup=0.25))
    assert (np.diag(mixed) < 1).mean() == pytest.approx(0.25, abs=0.06)
    _, mixed = mixed_up(before, targets, Draws((0,)), PLAIN.replace(mixup=1.0, mixed_targets="present"))
    assert set(np.unique(mixed)) == {0, 1}
