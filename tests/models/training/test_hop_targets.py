"""Targets hop by hop: the sound's label while it is heard and a second longer, the background's otherwise."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs torch (extra train)")

from earwitness.models.training.hop_targets import RECENT_HOPS, hop_targets  # noqa: E402

HOP = 10


def window(levels: list[float]) -> torch.Tensor:
    """Decibels [frames, 8], a hop of each level."""
    return torch.tensor(levels).repeat_interleave(HOP).unsqueeze(1).expand(-1, 8)


def test_hops_before_a_sound_and_a_second_behind_it_are_background() -> None:
    levels = [-90.0] * 5 + [-20.0] * 3 + [-60.0] * 20
    recent, targets = hop_targets(window(levels)[None], torch.tensor([[0.7, 0.3, 0.0]]), HOP, background=2)
    heard = [False] * 5 + [True] * (3 + RECENT_HOPS - 1) + [False] * (20 - RECENT_HOPS + 1)
    assert recent[0].bool().tolist() == heard
    for hop, is_heard in zip(targets[0], heard, strict=True):
        torch.testing.assert_close(hop, torch.tensor([0.7, 0.3, 0.0] if is_heard else [0.0, 0.0, 1.0]))


def test_without_a_background_there_is_nothing_to_be_learnt_from_silence() -> None:
    levels = [-90.0] * 5 + [-20.0] * 3
    _, targets = hop_targets(window(levels)[None], torch.tensor([[1.0, 0.0]]), HOP, background=None)
    assert targets[0, :5].sum() == 0
    assert (targets[0, 5:] == torch.tensor([1.0, 0.0])).all()


def test_each_window_has_a_loudness_of_its_own_and_frames_behind_the_last_hop_do_not_count() -> None:
    quiet = torch.cat([window([-70.0] * 4), torch.full((5, 8), 30.0)])
    loud = torch.cat([window([0.0, -24.0, -26.0, -26.0]), torch.full((5, 8), 30.0)])
    recent, targets = hop_targets(torch.stack([quiet, loud]), torch.eye(3)[:2], HOP, background=2)
    assert recent.bool().all()
    assert targets.shape == (2, 4, 3)
