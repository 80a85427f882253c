"""What `earwitness models` prints about bundles. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .bundle import Bundle, bundle_names, find_bundle


def list_lines(folder: Path | None = None) -> list[str]:
    """Two lines for each bundle in the box and in the user's folder: what it is, and under which licence.

    Raises EarwitnessError when one of them is not in order.
    """
    lines = []
    for bundle in (find_bundle(name, folder) for name in bundle_names(folder)):
        manifest = bundle.manifest
        size = f"{len(manifest.thresholds)} sounds, {size_bytes(bundle) / 1e6:.1f} MB"
        lines += [f"{bundle.tag}  {size}: {manifest.description}", f"    {manifest.licence}"]
    return lines


def show_lines(bundle: Bundle) -> list[str]:
    """All that a person may ask about one bundle; the manifest itself has the rest."""
    manifest, front_end = bundle.manifest, bundle.manifest.front_end
    frame_s = front_end.hop_length / front_end.sr
    lines = [
        f"{bundle.tag}: {manifest.description}",
        f"folder      {bundle.path}, {size_bytes(bundle)} bytes",
        f"licence     {manifest.licence}",
        f"hears       {front_end.feature} at {front_end.sr} Hz, {front_end.dims} values a frame ({front_end.hash})",
        f"window      {manifest.window_frames * frame_s:.2f} s, a decision every {manifest.hop_frames * frame_s:.2f} s",
    ]
    if manifest.network is not None:
        lines.append(f"network     {manifest.network.kind}, {manifest.network.parameters} parameters")
    if manifest.training is not None:
        lines.append(f"trained by  {manifest.training.command}")
    lines += [f"score       {name}: {value:.4g}" for name, value in manifest.scores.items()]
    lines += _columns(f"{label} {threshold:.2f}" for label, threshold in sorted(manifest.thresholds.items()))
    credits = bundle.contents.get("CREDITS.txt")
    if credits is not None:
        lines.append(f"credits     {bundle.path / 'CREDITS.txt'} ({len(credits.splitlines())} lines)")
    return lines


def size_bytes(bundle: Bundle) -> int:
    """Of all files, the manifest aside."""
    return sum(map(len, bundle.contents.values()))


def _columns(cells: Iterable[str], across: int = 4) -> list[str]:
    """Labels with their thresholds, several on a line."""
    cells = list(cells)
    width = max(map(len, cells)) + 2
    rows = [cells[start : start + across] for start in range(0, len(cells), across)]
    texts = ["".join(cell.ljust(width) for cell in row).rstrip() for row in rows]
    return [("events      " if not number else " " * 12) + text for number, text in enumerate(texts)]
