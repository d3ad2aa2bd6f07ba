"""Figures as files."""

import io
from pathlib import Path
from typing import Any

from levyjax.output import write_bytes


def write_figure(path: Path, axes: Any) -> None:
    """Write the figure that holds the axes as PNG, SVG or PDF, by the name; whole or not at all, and close it."""
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    # A file without the time of day and with fixed ids: the same result makes the same bytes.
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(path.suffix[1:])
    with plt.rc_context({"svg.hashsalt": "levyjax"}):
        axes.figure.savefig(buffer, format=path.suffix[1:], dpi=150, bbox_inches="tight", metadata=metadata)
    plt.close(axes.figure)
    write_bytes(path, buffer.getvalue())
