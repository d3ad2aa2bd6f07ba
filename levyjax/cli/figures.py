"""The figures that `levyjax escape --out` writes."""

import io
from pathlib import Path
from typing import Any

from levyjax.escape import ExitSamples
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


def write_figures(folder: Path, result: dict[str, Any], all_samples: list[ExitSamples]) -> None:
    """`survival.png` where there are samples, and `exit_time_scaling.png` where there are several noise levels."""
    from levyjax.plots.results import Choice
    from levyjax.plots.results.exit_cells import ExitResult, Exits
    from levyjax.plots.results.exits import kinds_of

    def exits(index: int) -> Exits:
        samples = all_samples[index]
        return Exits(samples.exit_time, samples.exit_code, samples.exit_step)

    axes = ("alpha", "noise_level", "learning_rate")
    kinds = kinds_of(ExitResult(result["cells"], axes, exits if all_samples else None, ()))
    for kind, name in (("survival", "survival"), ("scaling", "exit_time_scaling")):
        if kind in kinds:
            write_figure(folder / f"{name}.png", kinds[kind](Choice()))
