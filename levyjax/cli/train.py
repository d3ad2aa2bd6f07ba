"""`levyjax train`: trains a small classifier, measures its gradient noise and looks at what it did."""

import argparse
from pathlib import Path
from typing import Any

from levyjax.cli.lists import Items

HELP = "train a network and capture its gradient noise for `levyjax tails` and for runs of kind = empirical"

_NOT_KEYS = ("command", "config", "checkpoint", "out", "json")  # arguments that are no keys of [training]
_ESCAPE = """# Exits of SGD driven by the noise captured at iteration {iteration}, from a quadratic basin in the
# noisiest coordinates; curvatures are the variances of single examples' gradients
# (Fisher's identity, which holds near a minimum).
# Run it: levyjax escape escape.toml
[landscape]
kind = "quadratic"
hessian = {hessian}
[basin]
kind = "sublevel"
height = {height}  # four times the mean energy of SGD's stationary law
[dynamics]
kind = "sgd"
learning_rate = {learning_rate}
[noise]
kind = "empirical"
file = "{file}"
coordinates = {coordinates}
[run]
method = "iteration"
noise_level = 1.0
num_trajectories = 1024
seed = {seed}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument("config", metavar="TRAIN.toml", nargs="?", help="the run; the options below take precedence")
    parser.add_argument("--data", help="digits (default), mnist, fashion_mnist, cifar10 or synthetic")
    parser.add_argument("--data-dir", metavar="DIR", help="folder of the data files (default $LEVYJAX_DATA)")
    parser.add_argument("--optimizer", help="sgd (default) or adam")
    parser.add_argument("--learning-rate", type=float, help="default 0.1 for sgd, 0.001 for adam")
    parser.add_argument("--momentum", type=float, help="of sgd (default 0)")
    parser.add_argument("--network", help="mlp (default); on images cnn, alexnet, resnet, transformer")
    parser.add_argument("--loss", help="cross_entropy (default) or linear_hinge")
    parser.add_argument("--no-bias", dest="bias", action="store_false", default=None, help="an mlp without biases")
    parser.add_argument(
        "--widths", action=Items, item=int, nargs="*", help="of the hidden layers of an mlp (default 32)"
    )
    parser.add_argument("--activation", help="relu (default) or tanh")
    parser.add_argument("--batch-size", type=int, help="of updates and captures (default 32)")
    parser.add_argument("--iterations", type=int, help="updates (default 1000)")
    parser.add_argument("--record-every", type=int, help="iterations between measures (default a tenth of all)")
    capture = parser.add_mutually_exclusive_group()
    capture.add_argument("--capture-every", type=int, metavar="N", help="capture noise at every N-th iteration")
    capture.add_argument(
        "--capture-at", action=Items, item=int, nargs="*", metavar="K", help="at these iterations (default the last)"
    )
    parser.add_argument("--capture", help="samples (default) or statistics, in a fixed amount of memory")
    parser.add_argument("--applied", action="store_true", default=None, help="and noise as the optimizer applies it")
    parser.add_argument("--num-batches", type=int, help="mini-batches of a capture (default 256)")
    parser.add_argument("--seed", type=int, help="of everything random (default 0)")
    parser.add_argument("--checkpoint", metavar="DIR", help="keep the run's state there; a killed run goes on from it")
    parser.add_argument("--out", metavar="DIR", help="write record.json, noise_XXXX.npy, escape.toml and figures there")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Trains, captures, and writes the record."""
    from levyjax.output import output_directory, progress

    folder = None if args.out is None else output_directory(args.out)
    if args.checkpoint == "":
        raise ValueError("--checkpoint is empty. Give a folder.")
    plan = _plan(args)
    if folder is not None:
        _refuse_other_runs(folder, plan.training)
    from levyjax.training import train  # imports jax

    with progress(plan.training.iterations, "updates") as bar:
        result = train(plan.training, checkpoint_dir=args.checkpoint, on_updates=bar.update)
    return _record(result, plan.monitors, folder)


def _refuse_other_runs(folder: Path, config: Any) -> None:
    """Noise that an earlier run left and this one does not write anew would be taken for this one's."""
    kinds = {"noise": "npy"} if config.capture == "samples" else {"statistics": "npz"}
    kinds |= {"applied": "npy"} if config.applied else {}
    own = {_name(kind, at, suffix) for kind, suffix in kinds.items() for at in config.capture_at}
    own |= {"escape.toml"} if config.capture == "samples" else set()
    patterns = ("noise_*.npy", "applied_*.npy", "statistics_*.npz", "escape.toml")
    left = [
        name for pattern in patterns for name in sorted(path.name for path in folder.glob(pattern)) if name not in own
    ]
    if left:
        raise ValueError(
            f"--out {folder} holds {left[0]}{f' and {len(left) - 1} more' if left[1:] else ''} of another run, which "
            "would be mixed with this one's. Give another folder, or take them away."
        )


def render(result: dict[str, Any]) -> str:
    """The measures along the run, and the tail index of each capture."""
    from levyjax.output import table

    columns = ("iteration", "file", "num_batches", "num_parameters", "num_dead", "alpha_if_stable", "ci95")
    parts = [table(result["metrics"])]
    titles = {"noise": "gradient noise", "applied": "noise as the optimizer applies it"}
    parts += [f"{title}:\n{table(result[name], columns)}" for name, title in titles.items() if result[name]]
    if result["statistics"]:
        rows = [{**found, **found["layers"]["all"]} for found in result["statistics"]]
        names = ("iteration", "file", "mean_norm", "block_lengths", "alpha")
        parts.append(f"gradient noise, block log-moment estimates:\n{table(rows, names)}")
    parts += _monitors(result["monitors"])
    return "\n\n".join(parts)


def _monitors(found: dict[str, Any]) -> list[str]:
    from levyjax.output import table

    found = {name: part for name, part in found.items() if not (isinstance(part, dict) and "error" in part)}
    parts = []
    if "tails" in found:
        rows = [
            {"iteration": tail.iteration, "layer": tail.layer, "verdict": tail.verdict}
            | {"alpha_as_published": tail.alpha["as_published"], "gaussian_twin": tail.gaussian["as_published"]}
            for tail in found["tails"]
        ]
        parts.append(f"tails by layer:\n{table(rows)}")
    if "path" in found:
        ways = [f"{name.replace('_', ' ')} {found['path'][name]['barrier']:.4g}" for name in ("line", "least_path")]
        parts.append(f"barrier from iteration {found['path']['from']} to {found['path']['to']}: {', '.join(ways)}")
    if "curvature" in found:
        parts.append(f"Hessian at the end:\n{table([found['curvature']], ('eigenvalues', 'trace', 'trace_error'))}")
    return parts


def failure(result: dict[str, Any]) -> str | None:
    """What a monitor could not look at; everything else is there."""
    for name, found in result["monitors"].items():
        if isinstance(found, dict) and "error" in found:
            return f"[monitors] {name}: {found['error']}"
    return None


def _plan(args: argparse.Namespace) -> Any:
    from levyjax.config.training import load_training, parse_training

    given = {name: value for name, value in vars(args).items() if name not in _NOT_KEYS and value is not None}
    return load_training(args.config, given) if args.config is not None else parse_training({"training": given})


def _record(result: Any, monitors: Any, folder: Path | None) -> dict[str, Any]:
    import dataclasses

    from levyjax.cli.monitors import monitored
    from levyjax.environment import environment
    from levyjax.records import write_record

    names = ("iterations", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
    rows = zip(*(getattr(result, name).tolist() for name in names), strict=True)
    record = {
        "config": dataclasses.asdict(result.config),
        "metrics": [dict(zip(("iteration", *names[1:]), row, strict=True)) for row in rows],
        "noise": [_write_noise(noise, folder, "noise") for noise in result.noise],
        "applied": [_write_noise(both.applied, folder, "applied") for both in result.applied],
        "statistics": [_write_statistics(found, folder) for found in result.statistics],
        "monitors": {},
        "layers": {name: list(ends) for name, ends in result.model.slices.items()},
        "num_parameters": int(result.parameters.size),
        "dtype": str(result.parameters.dtype),
        "seconds": result.seconds,
        "seconds_updates": result.seconds_updates,
        "iterations_per_second": result.iterations_per_second,
        "environment": environment(),
    }
    if folder:  # before the monitors, any of which may refuse what it finds
        write_record(folder / "record.json", record)
        _write_learning(folder, result)
        _write_escape(folder, result)
    record["monitors"], figures = monitored(result, monitors)
    if folder:
        record = write_record(folder / "record.json", record)
        _write_figures(folder, figures)
    return record


def _write_noise(noise: Any, folder: Path | None, name: str) -> dict[str, Any]:
    """One file of a capture; its tail index is that of a stable law fitted to it, whether or not it is stable."""
    from levyjax.output import write_array
    from levyjax.training import stable_scales

    try:
        fit, warnings = stable_scales(noise), []
    except ValueError as error:  # too few mini-batches, or noise of rounding only
        fit, warnings = None, [str(error)]
    file = _file(noise, name) if folder else None
    if folder:
        write_array(folder / _file(noise, name), noise.samples)
    return {
        "iteration": noise.iteration,
        "file": file,
        "num_batches": len(noise.samples),
        "num_parameters": noise.samples.shape[1],
        "num_dead": int((noise.samples == 0).all(axis=0).sum()),
        "alpha_if_stable": fit.estimate.alpha if fit else None,
        "ci95": list(fit.estimate.interval) if fit else None,
        "warnings": list(fit.warnings) if fit else warnings,
    }


def _file(found: Any, name: str, suffix: str = "npy") -> str:
    return _name(name, found.iteration, suffix)


def _name(name: str, iteration: int, suffix: str) -> str:
    return f"{name}_{iteration:04d}.{suffix}"


def _write_statistics(found: Any, folder: Path | None) -> dict[str, Any]:
    """The arrays of one capture in a file; here the block log-moment estimates of each parameter array."""
    import dataclasses

    import numpy as np

    from levyjax.output import write_arrays

    file = _file(found, "statistics", "npz") if folder else None
    if folder:
        arrays: dict[str, Any] = {
            field.name: getattr(found, field.name)
            for field in dataclasses.fields(found)
            if isinstance(getattr(found, field.name), np.ndarray)
        }
        write_arrays(folder / _file(found, "statistics", "npz"), **arrays)
    layers = {
        name: {"block_lengths": logs.lengths[1:].tolist(), "alpha": logs.alpha().tolist()}
        for name, logs in found.layers.items()
    }
    return {"iteration": found.iteration, "file": file, "mean_norm": float(found.norms.mean()), "layers": layers}


def _write_learning(folder: Path, result: Any) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from levyjax import plots
    from levyjax.plots.style import write_figure

    with plots.style(figure_figsize=(6.6, 2.5)):
        left, right = plt.figure().subplots(1, 2)
        plots.learning_curves(result.iterations, result.train_loss, result.test_loss, log=True, ax=left)
        accuracy = result.train_accuracy, result.test_accuracy
        plots.learning_curves(result.iterations, *accuracy, ylabel="accuracy", ax=right)
        write_figure(folder / "training.png", left)


def _write_figures(folder: Path, figures: Any) -> None:
    import matplotlib.pyplot as plt

    from levyjax import plots
    from levyjax.plots.style import write_figure

    for name, draw in figures:
        with plots.style(figure_figsize=(4.4, 3.0)):
            write_figure(folder / f"{name}.png", draw(plt.figure().subplots()))


def _write_escape(folder: Path, result: Any) -> None:
    """A run file in which the last capture drives the optimizer out of a quadratic basin of the network's curvature."""
    from levyjax.output import write_text
    from levyjax.training.quadratic import quadratic_model

    if not result.noise:
        return
    try:
        model = quadratic_model(result.noise[-1], result.config.learning_rate)
    except ValueError:  # noise that does not vary
        (folder / "escape.toml").unlink(missing_ok=True)
        return
    text = _ESCAPE.format(
        iteration=result.noise[-1].iteration,
        file=_file(result.noise[-1], "noise"),
        learning_rate=result.config.learning_rate,
        hessian=[float(f"{value:.4g}") for value in model.curvature],
        height=f"{model.height:.4g}",
        coordinates=model.coordinates.tolist(),
        seed=result.config.seed,
    )
    write_text(folder / "escape.toml", text)
