"""What `levyjax train` looks at once a run has ended: tails by layer, the way between two points, curvature."""

import dataclasses
import functools
from typing import Any

import jax.numpy as jnp

from levyjax import plots
from levyjax.config.training import MonitorSettings
from levyjax.plots.results.training import alpha_by_layer
from levyjax.training import TrainResult, hessian_pairs, hessian_trace, load, mean_loss, tail_monitor
from levyjax.training.curvature import Loss, noise_alignment
from levyjax.training.paths import LossPath, least_path, line_path
from levyjax.training.tail_monitor import LayerTail

Figures = list[tuple[str, Any]]  # name, function of axes


def monitored(result: TrainResult, settings: MonitorSettings) -> tuple[dict[str, Any], Figures]:
    """What the chosen monitors found, for the record, and the figures that show it; a refusal is kept as "error"."""
    chosen = {"tails": settings.tails, "path": settings.path, "curvature": settings.curvature > 0}
    loss = functools.cache(lambda: _training_loss(result))  # read and compiled once, if at all
    looks = {
        "tails": lambda: _tails(result),
        "path": lambda: _path(result, loss()),
        "curvature": lambda: _curvature(result, loss(), settings.curvature),
    }
    record: dict[str, Any] = {}
    figures: Figures = []
    for name in (name for name, wanted in chosen.items() if wanted):
        try:
            record[name], drawn = looks[name]()
            figures += drawn
        except ValueError as error:
            record[name] = {"error": str(error)}
    return record, figures


def _tails(result: TrainResult) -> tuple[list[LayerTail], Figures]:
    tails = tail_monitor(result.noise, seed=result.config.seed)
    return tails, _tail_figures(tails)


def _path(result: TrainResult, loss: Loss) -> tuple[dict[str, Any], Figures]:
    ends = [jnp.asarray(parameters) for parameters in result.kept.values()]
    ways = {"line": line_path(loss, ends[0], ends[-1]), "least path": least_path(loss, ends[0], ends[-1])}
    found = {"from": min(result.kept), "to": max(result.kept)} | {
        name.replace(" ", "_"): {"barrier": way.barrier, "places": way.places, "losses": way.losses}
        for name, way in ways.items()
    }
    return found, [("path", lambda ax: _draw_ways(ways, ax))]


def _training_loss(result: TrainResult) -> Loss:
    data = load(result.config.data, result.config.data_dir)
    return mean_loss(result.model.losses, jnp.asarray(data.train_x), jnp.asarray(data.train_y))


def _tail_figures(tails: list[LayerTail]) -> Figures:
    """The estimates of the paper's code, where there are two captures or more."""
    lines = alpha_by_layer([dataclasses.asdict(found) for found in tails])
    if len(lines[0]) < 2:
        return []
    return [("alpha", lambda ax: plots.alpha_along_training(*lines, ax=ax))]


def _draw_ways(ways: dict[str, LossPath], ax: Any) -> Any:
    return plots.loss_along_path({name: (way.places, way.losses) for name, way in ways.items()}, ax=ax)


def _curvature(result: TrainResult, loss: Loss, count: int) -> tuple[dict[str, Any], Figures]:
    seed, parameters = result.config.seed, result.parameters
    pairs = hessian_pairs(loss, parameters, min(count, parameters.size - 1), seed=seed)
    trace = hessian_trace(loss, parameters, seed=seed)
    found: dict[str, Any] = {"eigenvalues": pairs.values, "residuals": pairs.residuals} | {
        "next_eigenvalue": pairs.next_value,
        "eigenvalues_error": pairs.error,
        "trace": trace.trace,
        "trace_error": trace.trace_error,
    }
    last = result.noise[-1] if result.noise else None
    if last is not None and last.iteration == result.config.iterations and last.samples.any():
        aligned = noise_alignment(loss, parameters, last.samples, trace, pairs.vectors)
        found["noise"] = {
            "power": aligned.power,
            "cosine_with_hessian": aligned.cosine,
            "isotropic_ratio": aligned.isotropic_ratio,
            "shares_of_eigenvectors": aligned.shares,
        }
    return found, []
