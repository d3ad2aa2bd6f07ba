"""`levyjax sweep`: a grid of runs in chunks, by as many workers as there are, that goes on where it stopped."""

import argparse
from itertools import chain
from typing import Any

HELP = "simulate a grid of cells in chunks, with many workers, and go on where it stopped"
_ACTIONS = ("status", "collect")
_MOST_WORKERS = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument(
        "target",
        nargs="+",
        metavar="SWEEP.toml | status DIR | collect DIR",
        help="the sweep; or say how far one is; or gather what is done",
    )
    parser.add_argument("--out", metavar="DIR", help="the folder of the chunks; the same one goes on where it stopped")
    parser.add_argument("--dry-run", action="store_true", help="say cells, chunks, steps, seconds and memory, and stop")
    parser.add_argument("--workers", metavar="N", type=int, help="processes of this machine; default this one alone")
    parser.add_argument("--scheduler", metavar="ADDRESS", help='a Dask scheduler, or "local" to start one here')
    parser.add_argument("--shard", metavar="i/N", help="only every N-th chunk from the i-th on, i = 0 to N - 1")
    parser.add_argument("--distributed", action="store_true", help="one process of many, found by jax.distributed")
    parser.add_argument("--to", metavar="FILE", help="with collect: also write all samples to FILE.nc or FILE.zarr")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Runs, reports or gathers a sweep."""
    if len(args.target) == 2 and args.target[0] in _ACTIONS:
        return _look(args.target[0], args.target[1], args.to)
    if len(args.target) != 1:
        raise ValueError(f"{' '.join(args.target)[:80]!r} is not understood. Give a file, status DIR or collect DIR.")
    if args.to is not None:
        raise ValueError("--to goes with `levyjax sweep collect DIR`.")
    names = ("workers", "scheduler", "shard", "distributed")
    ways = [name for name in names if getattr(args, name) not in (None, False)]
    if len(ways) > 1 and set(ways) not in ({"workers", "scheduler"}, {"workers", "shard"}):
        raise ValueError(f"--{ways[0]} and --{ways[1]} do not go together. Take one of them.")
    if args.workers is not None and not 1 <= args.workers <= _MOST_WORKERS:
        raise ValueError(f"--workers {args.workers} is refused: give 1 to {_MOST_WORKERS}.")
    if args.scheduler == "":
        raise ValueError('--scheduler is empty. Give an address, or "local".')
    shard = _shard(args.shard)
    from levyjax.config.grid import load_sweep

    config = load_sweep(args.target[0])
    if args.dry_run:
        from levyjax.sweep.cost import cost  # imports jax

        return cost(config)
    if args.out is None:
        raise ValueError("--out DIR is missing: where the chunks are kept. (--dry-run needs none.)")
    from levyjax.output import output_directory

    folder = output_directory(args.out)
    if args.distributed:
        import jax

        _joined_processes()
        place = (jax.process_index(), jax.process_count())
    else:
        place = None
    from levyjax.sweep import ChunkStore, collect, pending, status
    from levyjax.sweep.cost import check_hardest

    if not (folder / "sweep.json").exists():
        check_hardest(config)
    store = ChunkStore.create(folder, config)
    _compute(store, args, shard, place)
    return status(folder) if pending(store) else collect(folder)


def render(result: dict[str, Any]) -> str:
    """The cells as a table and the slopes, or the state as lines."""
    from levyjax.cli.escape import slope_tables
    from levyjax.output import table

    if "cells" in result and isinstance(result["cells"], list):
        hidden = ("nonfinite_ids", "steps_per_second", "mean_exit_steps", "num_trajectories")
        columns = [name for name in dict.fromkeys(chain(*result["cells"])) if name not in hidden]
        return "\n\n".join([table(result["cells"], columns), *slope_tables(result["slopes"])])
    shown = {name: value for name, value in result.items() if not isinstance(value, (list, dict))}
    lines = [f"{name.replace('_', ' ')}: {_text(value)}" for name, value in shown.items()]
    if len(result.get("environments", ())) > 1:
        lines.append("warning: chunks were computed with different versions or devices; last bits may differ")
    return "\n".join(lines)


def _text(value: Any) -> str:
    """A count in full, a measured number with four digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else str(value)


def _shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 0, 1
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and len(text) < 20 and int(index) < int(count) <= 10**6):
        raise ValueError(f"--shard {text[:40]!r} is refused: give i/N with i from 0 to N - 1, such as 0/8.")
    return int(index), int(count)


def _look(action: str, folder: str, to: str | None) -> dict[str, Any]:
    from levyjax.sweep import collect, export, status

    if action == "status":
        return status(folder)
    return collect(folder) if to is None else {"written": str(export(folder, to))}


def _joined_processes() -> None:
    """Finds the other processes: SLURM, Open MPI, TPU pods and Kubernetes say where they are."""
    import jax

    try:
        jax.distributed.initialize()
    except (ValueError, RuntimeError) as error:
        reason = str(error).split("\n")[0][:150]
        raise ValueError(f"--distributed found no other processes ({reason}). Start it by srun or mpirun.") from None


def _compute(store: Any, args: argparse.Namespace, shard: tuple[int, int], place: tuple[int, int] | None) -> None:
    """The chunks that are not there yet, in the way that was asked for."""
    from levyjax.output import progress
    from levyjax.sweep import pending, run_sweep
    from levyjax.sweep.run import run_distributed, run_with_processes

    with progress(len(pending(store, shard)), "chunks") as bar:

        def done(_: dict[str, Any]) -> None:
            bar.update(1)

        if place is not None:
            run_distributed(store.folder, *place, on_done=done)
        elif args.scheduler is not None:
            with _client(args.scheduler, args.workers) as client:
                run_sweep(store.folder, client.get_executor(retries=3), on_done=done)
        elif args.workers:
            run_with_processes(store.folder, args.workers, shard=shard, on_done=done)
        else:
            run_sweep(store.folder, shard=shard, on_done=done)


def _client(address: str, workers: int | None) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise ValueError('--scheduler needs Dask: pip install "levyjax[cluster]".') from None
    if address == "local":
        return Client(n_workers=workers, threads_per_worker=1, dashboard_address=None)
    try:
        return Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise ValueError(f"--scheduler {address[:60]}: no Dask scheduler answers there ({str(error)[:80]}).") from None
