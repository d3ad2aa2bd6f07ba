"""Gradient noise: mini-batch gradients minus the full gradient, at fixed parameters."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from levyjax.datasets import Result, along
from levyjax.deprecation import moved
from levyjax.training.batches import drawn_from
from levyjax.training.coupling import check_mean
from levyjax.training.examples import as_arrays, batch_size
from levyjax.training.gradients import check_finite, compiled_gradient, measured
from levyjax.training.objective import objective_of

ALL_EXAMPLES, MINI_BATCHES, GIVEN = "all examples", "mean of the mini-batches", "given by the user"
_VALUES = 2**22  # numbers of a chunk of mini-batch gradients
ROUNDING = 4  # units in the last place of a gradient, up to which its noise is that of rounding: 1 was the most seen


@dataclasses.dataclass(frozen=True, eq=False)
class GradientNoise(Result):
    """Gradient noise at one point of a training run.

    Attributes:
        samples: mini-batch gradient minus full gradient, (num_batches, num_parameters). The paper's u is its negative.
        full_gradient: float64 (num_parameters,), what was subtracted.
        iteration: updates made before.
        batch_size: examples of a mini-batch.
        slices: name of a parameter array -> (start, stop) along the last axis.
        reference: what `full_gradient` is: "all examples", "mean of the mini-batches" or "given by the user".
        num_examples: that each mini-batch was drawn from without repetition; None where examples were repeated, or
            where their number is not known.
    """

    _dims = along({"mini_batch parameter": "samples", "parameter": "full_gradient layer"})

    samples: np.ndarray
    full_gradient: np.ndarray
    iteration: int
    batch_size: int
    slices: dict[str, tuple[int, int]]
    reference: str = ALL_EXAMPLES
    num_examples: int | None = None

    def _variables(self) -> dict[str, Any]:
        layer = np.empty(self.samples.shape[1], dtype=object)
        for name, (start, stop) in self.slices.items():
            layer[start:stop] = name
        found = {name: value for name, value in super()._variables().items() if name != "slices"}
        return found | {"layer": layer.astype(str)}


def gradient_noise(
    loss: Any,
    parameters: Any,
    x: Any,
    y: Any = None,
    batches: Any = None,
    *,
    key: Any = None,
    state: Any = None,
    iteration: int = 0,
    slices: dict[str, tuple[int, int]] | None = None,
) -> GradientNoise:
    """Measures gradient noise at fixed parameters of any model, in bounded memory beside the result.

    The gradients are taken one mini-batch after the other (`lax.map`): batched by `vmap`, XLA's float32 products have
    outliers that look like heavy tails (jax-ml/jax#32001). The full gradient is summed in float64.

    The reference that is subtracted is the gradient over all examples, wherever it exists. A loss that draws random
    numbers (dropout), or in which the examples of a mini-batch change each other (batch statistics), has no gradient of
    an example; and an iterable of mini-batches shows no others: the reference then is the mean over the mini-batches,
    and `reference` says so.

    A coordinate whose noise stays within 4 units in the last place of its gradient is dead, and its samples are 0: with
    weight decay in the loss, parameters that no example reaches have a gradient, of which rounding would be the noise.

    Args:
        loss: (parameters, x, y) -> the loss of each example, (batch,), or their mean, (); (parameters, x) where there
            is no y. Which of both is seen from the shape; a sum is refused. A tuple (loss, anything) is taken by its
            first part. Compiled once for each function object.
        parameters: any pytree of floating-point arrays, (num_parameters,) in all: a flat vector, dicts (linen, Haiku),
            an equinox module, an nnx state, or an nnx module itself, of which `nnx.Param` is trained; whole numbers,
            keys and functions in it are handed over as they are. It sets the precision; halves are computed in float32.
        x: all examples, any pytree of arrays (num_examples, ...), for the indices in `batches`. Without `batches` an
            iterable (a list, a generator, a loader) of mini-batches of one size, each a pytree: a tuple (x, y) for
            loss(parameters, x, y), or whatever loss(parameters, batch) takes.
        y: their labels, likewise, or None.
        batches: indices (num_batches, batch_size), see `draw_batches`; or a batch size, of which it draws 256.
        key: a random key, for a loss that takes `key=`: mini-batch i is given `jax.random.fold_in(key, i)`. The random
            streams of an nnx module are folded in with i, too, and begin at `key` where it is given.
        state: what else the model needs, such as running averages, for a loss that takes `state=`; it stays as it is.
        iteration: kept with the result.
        slices: name -> (start, stop), kept with the result; default the arrays of `parameters`.

    Returns:
        The noise; samples have the dtype of the parameters.

    Raises:
        ValueError: a gradient is not finite, the indices are no matrix of integers in range, or what was given does not
            fit together; but for the first, and for a sum, before anything is compiled.

    Source:
        Zhou et al. 2020, section 3: u = grad F - grad f_S, of the opposite sign.

    Example:
        >>> import jax.numpy as jnp
        >>> x, y = jnp.arange(6.0), jnp.ones(6)
        >>> noise = gradient_noise(lambda w, x, y: (w[0] * x - y) ** 2, jnp.ones(1), x, y, np.array([[0, 1], [4, 5]]))
        >>> noise.samples.round().tolist(), noise.full_gradient.round(2).tolist()
        ([[-13.0], [19.0]], [13.33])

        A mean over mini-batches of a loader, of a model whose parameters are a dict:

        >>> loader = [(x[:2], y[:2]), (x[4:], y[4:])]
        >>> noise = gradient_noise(lambda w, x, y: jnp.mean((w["w"] * x - y) ** 2), {"w": jnp.ones(1)}, loader)
        >>> noise.samples.tolist(), noise.slices, noise.reference
        ([[-16.0], [16.0]], {'w': (0, 1)}, 'mean of the mini-batches')
    """
    if batches is None:
        return _of_loader(loss, parameters, _loader(x, y), key, state, iteration, slices)
    task = measured(loss, parameters, x, y, batches, key=key, state=state)
    full = task.full_gradient()
    samples = np.empty((len(task.batches), task.vector.size), task.vector.dtype)
    width = int(max(1, min(len(samples), _VALUES // task.vector.size)))
    for start, found in task.gradients(width):
        check_finite(iteration, found)
        samples[start : start + len(found)] = found if full is None else found - full
    reference = ALL_EXAMPLES
    if full is None:
        full, reference = _centred(samples), MINI_BATCHES
    check_finite(iteration, full)
    silence(samples, full)
    kept = (
        task.batches.shape[1],
        dict(slices or task.slices),
        reference,
        drawn_from(task.batches, batch_size(task.data)),
    )
    return GradientNoise(samples, full, iteration, *kept)


def silence(samples: np.ndarray, full: np.ndarray) -> None:
    """Columns that hold no more than the rounding of their gradient become 0, in place."""
    least = ROUNDING * np.finfo(samples.dtype).eps * np.abs(full)
    samples[:, np.maximum(samples.max(axis=0), -samples.min(axis=0)) <= least] = 0


def _centred(samples: np.ndarray) -> np.ndarray:
    """The mean over rows, which is taken away in place, some of them at a time."""
    mean = samples.mean(axis=0, dtype=np.float64)
    for start in range(0, len(samples), max(1, _VALUES // samples.shape[1])):
        part = samples[start : start + max(1, _VALUES // samples.shape[1])]
        part[...] = part.astype(np.float64) - mean
    return mean


def _loader(x: Any, y: Any) -> Any:
    """Mini-batches one after the other, or a sentence on what was given in their place."""
    missing = "batches are missing: give batches=draw_batches(num_examples, batch_size, num_batches), or in place of x"
    if y is not None or isinstance(x, dict | tuple | str) or hasattr(x, "shape") or not isinstance(x, Iterable):
        what = f"shape {np.shape(x)}" if hasattr(x, "shape") else type(x).__name__
        raise ValueError(f"{missing} ({what}) an iterable of mini-batches: a list, a generator or a loader.")
    return x


def _of_loader(
    loss: Any, parameters: Any, loader: Iterable[Any], key: Any, state: Any, iteration: int, slices: Any
) -> GradientNoise:
    objective, found, first = None, [], []
    for index, batch in enumerate(loader):
        batch = as_arrays(list(batch) if isinstance(batch, tuple) else batch, f"mini-batch {index}")
        shapes = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(batch)]
        if objective is None:
            objective, first = objective_of(loss, parameters, batch, key=key, state=state), shapes
            check_mean(objective, batch, True)
        if shapes != first:
            raise ValueError(
                f"mini-batch {index} has arrays {[shape for shape, _ in shapes]} where the first has "
                f"{[shape for shape, _ in first]}: give mini-batches of one size (leave the last, smaller one out)."
            )
        one = compiled_gradient(objective.form, objective.vector, objective.arrays, batch, np.int32(index))
        found.append(np.asarray(one))
        check_finite(iteration, found[-1])
    if objective is None or len(found) < 2:
        raise ValueError(f"{len(found)} mini-batches show no noise: give two or more, 50 for a tail index.")
    samples = np.stack(found)
    full = _centred(samples)
    silence(samples, full)
    return GradientNoise(samples, full, iteration, batch_size(batch), dict(slices or objective.slices), MINI_BATCHES)


_SCALES = "levyjax.training.scales"
__getattr__ = moved(
    __name__, {"StableNoise": _SCALES, "draw_batches": "levyjax.training.batches", "stable_scales": _SCALES}
)
