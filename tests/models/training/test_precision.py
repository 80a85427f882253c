from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs torch (extra train)")

from earwitness.models.training.precision import Precision  # noqa: E402
from earwitness.stream.errors import EarwitnessError  # noqa: E402


def product(precision: Precision) -> torch.Tensor:
    with precision.autocast():
        return torch.nn.functional.linear(torch.ones(2, 3), torch.ones(4, 3))


@pytest.mark.parametrize(("name", "dtype"), [("fp32", "float32"), ("bf16", "bfloat16"), ("fp16", "float16")])
def test_products_are_computed_in_the_precision_that_is_asked_for(name: str, dtype: str) -> None:
    assert product(Precision(name, "cpu")).dtype == getattr(torch, dtype)


def test_only_fp16_scales_its_loss() -> None:
    assert [Precision(name, "cpu").scaler.is_enabled() for name in ("fp32", "bf16", "fp16")] == [False, False, True]


def test_auto_takes_bf16_where_the_cpu_has_units_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, name in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda there=there: there)
        assert Precision("auto", "cpu").name == name


def test_another_precision_is_refused() -> None:
    with pytest.raises(EarwitnessError, match="no precision 'fp8'"):
        Precision("fp8", "cpu")
