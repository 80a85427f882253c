"""Every test of the networks runs with one thread."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _always_one_thread(one_thread: None) -> None:
    pass
