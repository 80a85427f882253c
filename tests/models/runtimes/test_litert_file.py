"""What a LiteRT file asks for is known before anything opens it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.models.runtimes.litert_file import check_litert
from earwitness.stream.errors import EarwitnessError

pytest.importorskip("ai_edge_litert", reason="LiteRT's schema is in its package (extra litert)")

from ..foreign_models import lite_file

PLAIN = lite_file([1, 6], np.ones((6, 2), np.float32))


def test_a_file_with_operators_of_its_own_is_taken() -> None:
    check_litert(PLAIN)


def test_operators_of_tensorflow_are_refused_with_the_way_out() -> None:
    with pytest.raises(EarwitnessError, match=r"'FlexErf', an operator of TensorFlow itself; convert it again"):
        check_litert(lite_file([1, 6], np.ones((6, 2), np.float32), custom="FlexErf"))


def test_custom_operators_are_refused_by_name() -> None:
    with pytest.raises(EarwitnessError, match="custom operator 'edgetpu-custom-op'"):
        check_litert(lite_file([1, 6], np.ones((6, 2), np.float32), custom="edgetpu-custom-op"))


def test_tensors_that_would_fill_the_memory_are_refused() -> None:
    with pytest.raises(EarwitnessError, match="wants tensors of"):
        check_litert(lite_file([1 << 15, 1 << 15], np.ones((6, 2), np.float32)))


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\0\0\0\0TFL3", b"\xff\xff\xff\x7fTFL3" + b"\xff" * 40, b"PK\x03\x04"])
def test_what_is_no_litert_file_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(EarwitnessError, match="LiteRT file") as caught:
        check_litert(data)
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(PLAIN) - 1), st.binary(min_size=1, max_size=4))
def test_a_damaged_file_is_read_or_refused_never_anything_else(at: int, damage: bytes) -> None:
    for data in (PLAIN[:at], PLAIN[:at] + damage + PLAIN[at + len(damage) :]):
        try:
            check_litert(data)
        except EarwitnessError:
            pass
