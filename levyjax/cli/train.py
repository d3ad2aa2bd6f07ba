"""`levyjax train`: trains a small classifier and measures its gradient noise."""

import argparse
from typing import Any

HELP = "train a small network and capture its gradient noise as .npy files for `levyjax tails`"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument("--data", default="digits", help="digits (default), mnist, fashion_mnist, cifar10 or synthetic")
    parser.add_argument("--data-dir", metavar="DIR", help="folder of the data files (default $LEVYJAX_DATA)")
    parser.add_argument("--optimizer", default="sgd", help="sgd (default) or adam")
    parser.add_argument("--learning-rate", type=float, help="default 0.1 for sgd, 0.001 for adam")
    parser.add_argument("--momentum", type=float, default=0.0, help="of sgd (default 0)")
    parser.add_argument("--network", default="mlp", help="mlp (default); on images cnn, alexnet, resnet, transformer")
    parser.add_argument("--loss", default="cross_entropy", help="cross_entropy (default) or linear_hinge")
    parser.add_argument("--no-bias", action="store_true", help="linear maps of an mlp without one")
    parser.add_argument(
        "--widths", type=int, nargs="*", default=[32], help="of the hidden layers of an mlp (default 32)"
    )
    parser.add_argument("--activation", default="relu", help="relu (default) or tanh")
    parser.add_argument("--batch-size", type=int, default=32, help="of updates and captures (default 32)")
    parser.add_argument("--iterations", type=int, default=1_000, help="updates (default 1000)")
    parser.add_argument("--record-every", type=int, help="iterations between measures (default a tenth of all)")
    capture = parser.add_mutually_exclusive_group()
    capture.add_argument("--capture-every", type=int, metavar="N", help="capture noise at every N-th iteration")
    capture.add_argument(
        "--capture-at", type=int, nargs="*", metavar="K", help="at these iterations (default the last)"
    )
    parser.add_argument("--num-batches", type=int, default=256, help="mini-batches of a capture (default 256)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    parser.add_argument("--checkpoint", metavar="DIR", help="keep the run's state there; a killed run goes on from it")
    parser.add_argument("--out", metavar="DIR", help="write noise_XXXX.npy and record.json there")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Trains, captures, and writes the record."""
    from levyjax.output import output_directory, progress

    folder = output_directory(args.out) if args.out else None
    from levyjax.training import train  # imports jax

    config = _config(args)
    with progress(config.iterations, "updates") as bar:
        result = train(config, checkpoint_dir=args.checkpoint, on_updates=bar.update)
    return _record(result, folder)


def render(result: dict[str, Any]) -> str:
    """The measures along the run, and the tail index of each capture."""
    from levyjax.output import table

    columns = ("iteration", "file", "num_batches", "num_parameters", "num_dead", "alpha_if_stable", "ci95")
    parts = [table(result["metrics"])] + ([table(result["noise"], columns)] if result["noise"] else [])
    return "\n\n".join(parts)


def _config(args: argparse.Namespace) -> Any:
    from levyjax.training import TrainConfig

    if args.capture_every is not None and args.capture_every < 1:
        raise ValueError(f"--capture-every {args.capture_every} is too small. Give 1 or more.")
    every = range(0, args.iterations + 1, args.capture_every) if args.capture_every else (args.iterations,)
    default_rate = 0.1 if args.optimizer == "sgd" else 0.001
    return TrainConfig(
        data=args.data,
        data_dir=args.data_dir,
        network=args.network,
        widths=tuple(args.widths),
        activation=args.activation,
        bias=not args.no_bias,
        loss=args.loss,
        optimizer=args.optimizer,
        learning_rate=default_rate if args.learning_rate is None else args.learning_rate,
        momentum=args.momentum,
        batch_size=args.batch_size,
        iterations=args.iterations,
        record_every=max(1, args.iterations // 10) if args.record_every is None else args.record_every,
        capture_at=tuple(every if args.capture_at is None else args.capture_at),
        num_batches=args.num_batches,
        seed=args.seed,
    )


def _record(result: Any, folder: Any) -> dict[str, Any]:
    import dataclasses

    from levyjax.environment import environment
    from levyjax.output import write_json

    names = ("iterations", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
    rows = zip(*(getattr(result, name).tolist() for name in names), strict=True)
    record = {
        "config": dataclasses.asdict(result.config),
        "metrics": [dict(zip(("iteration", *names[1:]), row, strict=True)) for row in rows],
        "noise": [_write_noise(noise, folder) for noise in result.noise],
        "layers": {name: list(ends) for name, ends in result.model.slices.items()},
        "num_parameters": int(result.parameters.size),
        "dtype": str(result.parameters.dtype),
        "seconds": result.seconds,
        "seconds_updates": result.seconds_updates,
        "iterations_per_second": result.iterations_per_second,
        "environment": environment(),
    }
    if folder:
        write_json(folder / "record.json", record)
    return record


def _write_noise(noise: Any, folder: Any) -> dict[str, Any]:
    """One file of a capture; its tail index is that of a stable law fitted to it, whether or not it is stable."""
    import io

    import numpy as np

    from levyjax.output import write_bytes
    from levyjax.training import FEWEST_BATCHES, stable_scales

    fit = stable_scales(noise) if len(noise.samples) >= FEWEST_BATCHES else None
    file = f"noise_{noise.iteration:04d}.npy" if folder else None
    if folder:
        buffer = io.BytesIO()
        np.save(buffer, noise.samples)
        write_bytes(folder / file, buffer.getvalue())
    return {
        "iteration": noise.iteration,
        "file": file,
        "num_batches": len(noise.samples),
        "num_parameters": noise.samples.shape[1],
        "num_dead": int((noise.samples == 0).all(axis=0).sum()),
        "alpha_if_stable": fit.estimate.alpha if fit else None,
        "ci95": list(fit.estimate.interval) if fit else None,
        "warnings": list(fit.warnings) if fit else [f"Fewer than {FEWEST_BATCHES} mini-batches show no scales."],
    }
