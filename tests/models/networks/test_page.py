from __future__ import annotations

from pathlib import Path

from earwitness.models.networks.page import reference_page

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "networks.md"


def test_the_page_of_networks_is_what_the_registry_generates() -> None:
    assert PAGE.read_text() == reference_page(), (
        "stale: python -m earwitness.models.networks.page > docs/reference/networks.md"
    )
