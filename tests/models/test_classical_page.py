"""The page on the classical families."""

from __future__ import annotations

from pathlib import Path

from earwitness.models.classical_families import FAMILIES
from earwitness.models.classical_page import reference_page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "classical.md"


def test_the_page_is_the_code() -> None:
    """Where it is not: `python -m earwitness.models.classical_page > docs/reference/classical.md`."""
    assert PAGE.read_text() == reference_page()


def test_every_option_is_told() -> None:
    page = reference_page()
    assert all(f"## {family}\n" in page for family in FAMILIES)
    assert " |  |" not in page
