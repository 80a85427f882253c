"""The page on the classical families."""

from __future__ import annotations

from pathlib import Path

from earwitness.models.classical.families import FAMILIES
from earwitness.models.classical.page import reference_page

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "classical.md"


def test_the_page_is_the_code() -> None:
    """Where it is not: `python -m earwitness.models.classical.page > docs/reference/classical.md`."""
    assert PAGE.read_text() == reference_page()


def test_every_option_is_told() -> None:
    page = reference_page()
    assert all(f"## {family}\n" in page for family in FAMILIES)
    assert " |  |" not in page
