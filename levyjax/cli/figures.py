"""The figures that `levyjax escape --out` writes."""

import io
from pathlib import Path
from typing import Any

from levyjax.escape import ExitSamples
from levyjax.output import write_bytes
from levyjax.plots import exit_time_scaling, style, survival

_MOST_SURVIVAL_CURVES = 6


def write_figure(path: Path, axes: Any) -> None:
    """Write the figure that holds the axes as a PNG, whole or not at all, and close it."""
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    axes.figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight")
    plt.close(axes.figure)
    write_bytes(path, buffer.getvalue())


def write_figures(folder: Path, result: dict[str, Any], all_samples: list[ExitSamples]) -> None:
    """`survival.png` where there are samples, and `exit_time_scaling.png` where there are several noise levels."""
    rows = result["cells"]
    with style():
        axes = None
        for row, samples in list(zip(rows, all_samples, strict=False))[:_MOST_SURVIVAL_CURVES]:
            if not row["exited"]:
                continue
            scaled = samples.exit_time / row["mean_exit_time"]
            axes = survival(scaled, samples.exited, label=_label(row), unit="mean exit times", ax=axes)
        if axes is not None:
            write_figure(folder / "survival.png", axes)
        axes = None
        for alpha in dict.fromkeys(row["alpha"] for row in rows):
            members = [row for row in rows if row["alpha"] == alpha and row["rate"] and all(row["rate_ci95"])]
            if len({row["noise_level"] for row in members}) > 1:
                axes = exit_time_scaling(
                    [row["noise_level"] for row in members],
                    [1 / row["rate"] for row in members],
                    [(1 / row["rate_ci95"][1], 1 / row["rate_ci95"][0]) for row in members],
                    [1 / row["predicted_rate"] if row["predicted_rate"] else None for row in members],
                    label=f"α = {alpha}",
                    ax=axes,
                )
        if axes is not None:
            write_figure(folder / "exit_time_scaling.png", axes)


def _label(row: dict[str, Any]) -> str:
    parts = {"α": row["alpha"], "ε": row["noise_level"], "η": row["learning_rate"]}
    return ", ".join(f"{name} = {_number(value)}" for name, value in parts.items() if value is not None)


def _number(value: Any) -> str:
    return f"({', '.join(map(_number, value))})" if isinstance(value, tuple) else f"{value:g}"
