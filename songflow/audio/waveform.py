"""Draw a song's waveform as a small SVG picture that is readable on light and dark pages."""

from __future__ import annotations

from songflow.audio.preview import Preview

__all__ = ["HEIGHT", "WIDTH", "waveform_svg"]

WIDTH, HEIGHT = 300, 48
"""Size of the picture in pixels."""

_MARKED, _OTHER = "#3b82f6", "#9ca3af"


def waveform_svg(preview: Preview) -> str:
    """A bar for each peak; those of the part that the preview plays have another colour."""
    step = WIDTH / len(preview.peaks)
    bars: dict[str, list[str]] = {_MARKED: [], _OTHER: []}
    for place, peak in enumerate(preview.peaks):
        at = preview.song_seconds * (place + 0.5) / len(preview.peaks)
        colour = _MARKED if preview.start <= at <= preview.start + preview.seconds else _OTHER
        length = max(1, round(peak * HEIGHT))
        bars[colour].append(f"M{step * (place + 0.5):.0f} {(HEIGHT - length) / 2:g}v{length}")
    paths = "".join(f'<path stroke="{colour}" d="{"".join(some)}"/>' for colour, some in bars.items() if some)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" stroke-width="{step:.2g}">'
        f"{paths}</svg>"
    )
