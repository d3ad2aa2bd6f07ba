"""From any model to exit times: its loss as a landscape around a polished minimum, and exits under each noise."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from levyjax.arrays import parameter
from levyjax.basins import Ball
from levyjax.dynamics import SGD
from levyjax.escape import EscapeProblem, ExitSamples, Plan, simulate
from levyjax.solvers import Iteration
from levyjax.training.examples import batch_size
from levyjax.training.gradients import measured
from levyjax.training.landscape import NetworkLoss, at_minimum
from levyjax.training.noise_models import NoiseModels


def model_landscape(
    loss: Any, parameters: Any, x: Any, y: Any = None, *, weight_decay: float = 0.0, state: Any = None
) -> NetworkLoss:
    """Take the loss of any model on all of some examples as a landscape, around a minimum near its parameters.

    From the parameters it descends by L-BFGS, then by Newton's method with conjugate gradients, in float64, until the
    gradient vanishes. A model that fits all its examples has a minimum with weight decay only.

    Args:
        loss: see `gradient_noise`, as the next three; a model without dropout and with its running averages in place of
            batch statistics (`model.eval()` in nnx).
        parameters: any pytree or nnx module, (num_parameters,) in all: where the descent starts.
        x: examples, any pytree of arrays (n, ...).
        y: their labels, or None.
        weight_decay: at least 0, on all parameters, as weight_decay |x|^2/2.
        state: what else the model needs.

    Returns:
        The landscape; its coordinates are in the order of the slices of `gradient_noise`.

    Raises:
        ValueError: the loss does not fit, draws random numbers or couples its examples; a negative weight decay; no
            point with a gradient below 1e-8, as where units have kinks (relu).

    Example:
        >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> landscape = model_landscape(lambda w, x: (jnp.tanh(x @ w["w"]) - 0.5) ** 2, {"w": np.zeros(2)}, x)
        >>> landscape.minimum.round(3).tolist()
        [0.409, 0.409]
    """
    decay = parameter(weight_decay, "weight_decay", ndim=(0,))
    if decay < 0:
        raise ValueError(f"weight_decay must not be negative, got {weight_decay}.")
    task = measured(loss, parameters, x, y, np.zeros((1, 1), np.int32), state=state)
    if task.coupled or task.objective.draws:
        raise ValueError(
            "the loss draws random numbers, or the examples of a mini-batch change each other's losses (batch "
            "statistics): give the model as it is used after training, such as model.eval() of nnx."
        )
    form, arrays = task.objective.form.at_rest(task.objective.arrays)
    each, (arrays, data) = task.objective.each, jax.tree.map(np.asarray, (arrays, task.data))

    def losses(vector: Array, rows: Array, _: Array) -> Array:
        def of(rows: Array) -> Array:
            batch = jax.tree.map(lambda leaf: _like(jnp.asarray(leaf)[rows], vector), data)
            return form(vector, arrays, batch, np.int32(0))

        with jax.numpy_dtype_promotion("standard"):  # a model's float32 constants beside float64 parameters
            return of(rows) if each else jax.vmap(lambda row: of(row[None]))(rows)

    rows = np.arange(batch_size(task.data), dtype=np.int32)
    start = np.asarray(task.vector, np.float64)
    with jax.enable_x64(True):
        return at_minimum(NetworkLoss(losses, rows, rows, decay, start))


def _like(values: Array, vector: Array) -> Array:
    return values.astype(vector.dtype) if jnp.issubdtype(values.dtype, jnp.floating) else values


def exits_under(
    landscape: Any,
    noises: NoiseModels | Mapping[str, Any],
    learning_rate: float,
    basin: Any,
    *,
    num_trajectories: int = 256,
    max_steps: int = 10_000,
    seed: int = 0,
) -> dict[str, ExitSamples]:
    """Run SGD from a minimum until it leaves a basin, under each of some noises of the gradient.

    Args:
        landscape: F, with its minimum, such as from `model_landscape`.
        noises: of `noise_models`, or name -> noise of one step's gradient.
        learning_rate: of SGD.
        basin: what is left; a number is the radius of a ball around the minimum.
        num_trajectories: under each noise.
        max_steps: after which a trajectory is censored.
        seed: the same for each.

    Returns:
        Name -> exits; times are steps times the learning rate.

    Raises:
        ValueError: what `EscapeProblem` and `simulate` refuse.

    Example:
        >>> from levyjax.landscapes import Quadratic
        >>> from levyjax.noise import Gaussian, Independent
        >>> noises = {"gaussian": Gaussian([1.0]), "stable": Independent(1.5, [1.0])}
        >>> found = exits_under(Quadratic([1.0]), noises, 0.1, 1.0, num_trajectories=64)
        >>> bool(np.median(found["stable"].exit_step) < np.median(found["gaussian"].exit_step))
        True
    """
    if np.ndim(basin) == 0 and isinstance(basin, int | float | np.number):
        basin = Ball(float(basin), landscape.minimum)
    models = noises.models if isinstance(noises, NoiseModels) else noises
    plan = Plan(Iteration(), num_trajectories, max_time=learning_rate * max_steps)
    problems = {
        name: EscapeProblem(landscape, basin, noise, SGD(learning_rate), noise_level=1.0)
        for name, noise in models.items()
    }
    return {name: simulate(problem, plan, key=seed) for name, problem in problems.items()}
