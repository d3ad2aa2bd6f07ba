"""Small array programs run by NumPy: setting a problem up once is not worth a compilation.

A compiled program takes 0.05 to 1 s before its first result, an eager operation of jax 0.03 s. What is called once
or twice on a few thousand numbers (a gauge along rays, a Hessian, exit faces) is traced as for compilation, and NumPy
then works its operations out one after the other. Numbers agree with compiled ones to rounding.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # its parts load when they are used
from jax import lax
from jax.core import Tracer
from jax.extend.core import Literal

_PATIENCE = 0.3  # seconds, about what a small program takes to compile
_OPERATION, _ENTRY = 4e-6, 2e-9  # seconds an operation takes, and more for each entry of its result

_SAME_NAME = "sign floor ceil exp exp2 log log1p expm1 sin cos tan sinh cosh tanh sqrt cbrt square abs real imag conj"
_UNARY: dict[str, Callable[..., Any]] = {name: getattr(np, name) for name in _SAME_NAME.split()} | {
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "neg": np.negative,
    "is_finite": np.isfinite,
    "not": np.invert,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "one_minus_square": lambda x: 1 - x * x,
    "logistic": lambda x: scipy.special.expit(x),
    "erf": lambda x: scipy.special.erf(x),
    "erfc": lambda x: scipy.special.erfc(x),
    "lgamma": lambda x: scipy.special.gammaln(x),
    "digamma": lambda x: scipy.special.digamma(x),
    "copy": lambda x: x,
    "copy_p": lambda x: x,
    "stop_gradient": lambda x: x,
    "optimization_barrier": lambda x: x,
}
_BINARY: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "add_any": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "pow": np.power,
    "atan2": np.arctan2,
    "rem": np.fmod,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "nextafter": np.nextafter,
    "shift_left": np.left_shift,
    "shift_right_arithmetic": np.right_shift,
}
_REDUCE = {
    "reduce_sum": np.add,
    "reduce_prod": np.multiply,
    "reduce_max": np.maximum,
    "reduce_min": np.minimum,
    "reduce_and": np.logical_and,
    "reduce_or": np.logical_or,
}
_CUMULATIVE = {"cumsum": np.add, "cumprod": np.multiply, "cummax": np.maximum, "cummin": np.minimum}


def _broadcast_in_dim(x: Any, *, shape: Any, broadcast_dimensions: Any, **_: Any) -> Any:
    lengths = [1] * len(shape)
    for axis, place in enumerate(broadcast_dimensions):
        lengths[place] = np.shape(x)[axis]
    return np.broadcast_to(np.reshape(x, lengths), shape)


def _divide(x: Any, y: Any) -> Any:
    if np.issubdtype(np.asarray(x).dtype, np.integer):
        y = np.where(np.equal(y, 0), 1, y)
        floor, left = np.divmod(x, y)
        return floor + ((left != 0) & (np.less(x, 0) != np.less(y, 0))).astype(np.asarray(x).dtype)
    return np.true_divide(x, y)


def _dot_general(x: Any, y: Any, *, dimension_numbers: Any, preferred_element_type: Any = None, **_: Any) -> Any:
    (contract_x, contract_y), (batch_x, batch_y) = dimension_numbers
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    left, right = [""] * np.ndim(x), [""] * np.ndim(y)
    batch = []
    for one, other in zip(batch_x, batch_y, strict=True):
        left[one] = right[other] = next(letters)
        batch.append(left[one])
    for one, other in zip(contract_x, contract_y, strict=True):
        left[one] = right[other] = next(letters)
    left = [letter or next(letters) for letter in left]
    right = [letter or next(letters) for letter in right]
    free = [a for i, a in enumerate(left) if i not in (*contract_x, *batch_x)]
    free += [a for i, a in enumerate(right) if i not in (*contract_y, *batch_y)]
    if not batch and np.ndim(x) and np.ndim(y):
        out = np.tensordot(x, y, axes=(contract_x, contract_y))  # by BLAS
    else:
        out = np.einsum(f"{''.join(left)},{''.join(right)}->{''.join(batch + free)}", x, y)
    return out if preferred_element_type is None else np.asarray(out).astype(preferred_element_type)


def _slice(x: Any, *, start_indices: Any, limit_indices: Any, strides: Any) -> Any:
    steps = strides or (1,) * np.ndim(x)
    return x[tuple(slice(*bounds) for bounds in zip(start_indices, limit_indices, steps, strict=True))]


def _dynamic_slice(x: Any, *starts: Any, slice_sizes: Any) -> Any:
    begins = [int(np.clip(s, 0, n - k)) for s, n, k in zip(starts, np.shape(x), slice_sizes, strict=True)]
    return x[tuple(slice(begin, begin + size) for begin, size in zip(begins, slice_sizes, strict=True))]


def _dynamic_update_slice(x: Any, update: Any, *starts: Any) -> Any:
    begins = [int(np.clip(s, 0, n - k)) for s, n, k in zip(starts, np.shape(x), np.shape(update), strict=True)]
    out = np.array(x)
    out[tuple(slice(b, b + k) for b, k in zip(begins, np.shape(update), strict=True))] = update
    return out


def _pad(x: Any, filling: Any, *, padding_config: Any) -> Any:
    if any(low < 0 or high < 0 or inner for low, high, inner in padding_config):
        return lax.pad(jnp.asarray(x), jnp.asarray(filling), padding_config)
    return np.pad(x, [(low, high) for low, high, _ in padding_config], constant_values=filling)


def _gather(
    x: Any, indices: Any, *, dimension_numbers: Any, slice_sizes: Any, mode: Any, fill_value: Any, **_: Any
) -> Any:
    """Slices of x that begin at given places: batch axes first, then put where the result has them."""
    numbers = dimension_numbers
    batch, sizes = np.shape(indices)[:-1], list(slice_sizes)
    dropped = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    kept = [axis for axis in range(np.ndim(x)) if axis not in dropped]
    filled = mode == lax.GatherScatterMode.FILL_OR_DROP
    places, good = [], np.ones(batch, bool)
    for axis, size in enumerate(sizes):
        start = np.zeros(batch, int)
        if axis in numbers.start_index_map:
            start = indices[..., numbers.start_index_map.index(axis)].astype(np.int64)
        elif axis in numbers.operand_batching_dims:
            there = numbers.start_indices_batching_dims[numbers.operand_batching_dims.index(axis)]
            start = start + np.arange(batch[there]).reshape([-1 if one == there else 1 for one in range(len(batch))])
        good &= (start >= 0) & (start <= np.shape(x)[axis] - size)
        start = np.clip(start, 0, np.shape(x)[axis] - size).reshape(batch + (1,) * len(kept))
        if axis in kept:
            start = start + np.arange(size).reshape([-1 if one == axis else 1 for one in kept])
        places.append(start)
    out = np.asarray(x[tuple(places)])
    if filled and not good.all():
        if fill_value is None:
            integer = np.issubdtype(out.dtype, np.integer)
            fill_value = np.iinfo(out.dtype).min if integer else np.nan
        out = np.where(good.reshape(batch + (1,) * len(kept)), out, np.asarray(fill_value, out.dtype))
    others = [axis for axis in range(out.ndim) if axis not in numbers.offset_dims]
    order = np.argsort([*others, *numbers.offset_dims])
    return np.transpose(out, order)


def _iota(*, dtype: Any, shape: Any, dimension: int, **_: Any) -> Any:
    lengths = [1] * len(shape)
    lengths[dimension] = shape[dimension]
    return np.broadcast_to(np.arange(shape[dimension], dtype=dtype).reshape(lengths), shape)


def _argument(find: Any) -> Callable[..., Any]:
    def found(x: Any, *, axes: Any, index_dtype: Any) -> Any:
        return find(x, axis=axes[0]).astype(index_dtype)

    return found


def _cumulated(name: str) -> Callable[..., Any]:
    def cumulated(x: Any, *, axis: int, reverse: bool) -> Any:
        there = (lambda v: np.flip(v, axis)) if reverse else (lambda v: v)
        return there(_CUMULATIVE[name].accumulate(there(x), axis=axis, dtype=np.asarray(x).dtype))

    return cumulated


def _split(x: Any, *, sizes: Any, axis: int) -> Any:
    return np.split(x, np.cumsum(sizes)[:-1], axis=axis)


def _select(which: Any, *cases: Any) -> Any:
    if len(cases) == 2:
        return np.where(np.asarray(which).astype(bool), cases[1], cases[0])
    return np.choose(which, cases)


def _reduced(name: str) -> Callable[..., Any]:
    def reduced(x: Any, *, axes: Any, **_: Any) -> Any:
        return _REDUCE[name].reduce(np.asarray(x), axis=tuple(axes), dtype=np.asarray(x).dtype)

    return reduced


_SHAPES: dict[str, Callable[..., Any]] = (
    {
        "broadcast_in_dim": _broadcast_in_dim,
        "reshape": lambda x, *, new_sizes, dimensions, **_: (
            np.reshape(np.transpose(x, dimensions), new_sizes) if dimensions is not None else np.reshape(x, new_sizes)
        ),
        "squeeze": lambda x, *, dimensions: np.squeeze(x, axis=tuple(dimensions)),
        "expand_dims": lambda x, *, dimensions: np.expand_dims(x, tuple(dimensions)),
        "transpose": lambda x, *, permutation: np.transpose(x, permutation),
        "rev": lambda x, *, dimensions: np.flip(x, dimensions),
        "concatenate": lambda *parts, dimension: np.concatenate(parts, axis=dimension),
        "stack": lambda *parts, axis: np.stack(parts, axis=axis),
        "tile": lambda x, *, reps: np.tile(x, reps),
        "pad": _pad,
        "gather": _gather,
        "slice": _slice,
        "dynamic_slice": _dynamic_slice,
        "dynamic_update_slice": _dynamic_update_slice,
        "iota": _iota,
        "split": _split,
        "convert_element_type": lambda x, *, new_dtype, **_: np.asarray(x).astype(new_dtype),
        "bitcast_convert_type": lambda x, *, new_dtype: np.asarray(x).view(new_dtype),
        "integer_pow": lambda x, *, y: np.asarray(x) ** y if y >= 0 else 1 / np.asarray(x) ** -y,
        "div": _divide,
        "clamp": lambda low, x, high: np.clip(x, low, high),
        "select_n": _select,
        "dot_general": _dot_general,
        "argmax": _argument(np.argmax),
        "argmin": _argument(np.argmin),
    }
    | {name: _cumulated(name) for name in _CUMULATIVE}
    | {name: _reduced(name) for name in _REDUCE}
)
_ELEMENTWISE = _UNARY | _BINARY


def _while(equation: Any, values: list[Any], budget: Any) -> Any:
    parameters = equation.params
    to_cond, to_body = parameters["cond_nconsts"], parameters["body_nconsts"]
    first, then, carry = values[:to_cond], values[to_cond : to_cond + to_body], values[to_cond + to_body :]
    while bool(_run(parameters["cond_jaxpr"], [*first, *carry], budget)[0]):
        carry = _run(parameters["body_jaxpr"], [*then, *carry], budget)
    return carry


def _scan(equation: Any, values: list[Any], budget: Any) -> Any:
    inner, reverse = equation.params["jaxpr"], equation.params["reverse"]
    # what is stacked has one axis more outside; versions of jax count the rest in different ways
    stacked = [len(var.aval.shape) > len(one.shape) for var, one in zip(equation.outvars, inner.out_avals, strict=True)]
    sliced = [len(var.aval.shape) > len(one.shape) for var, one in zip(equation.invars, inner.in_avals, strict=True)]
    carries, fixed = stacked.count(False), sliced.count(False) - stacked.count(False)
    constants, carry, rows = values[:fixed], values[fixed : fixed + carries], values[fixed + carries :]
    places = range(equation.params["length"])
    made = []
    for place in reversed(places) if reverse else places:
        out = _run(inner, [*constants, *carry, *(row[place] for row in rows)], budget)
        carry = out[:carries]
        made.append(out[carries:])
    if reverse:
        made.reverse()
    if not made:
        return [*carry, *(np.zeros((0, *one.shape), one.dtype) for one in inner.out_avals[carries:])]
    return [*carry, *(np.stack(column) for column in zip(*made, strict=True))]


def _cond(equation: Any, values: list[Any], budget: Any) -> Any:
    return _run(equation.params["branches"][int(values[0])], values[1:], budget)


def _called(equation: Any, values: list[Any], budget: Any) -> Any:
    inner = next(equation.params[name] for name in ("jaxpr", "call_jaxpr", "fun_jaxpr") if name in equation.params)
    return _run(inner, values, budget)


_CALLS: dict[str, Callable[[Any, list[Any], Any], Any]] = {
    "while": _while,
    "scan": _scan,
    "cond": _cond,
    **dict.fromkeys(("pjit", "jit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call"), _called),
}


class _TooLong(Exception):
    """A compiled program would have been done sooner."""


class _Budget:
    """The time that operations may take, estimated from their number and size."""

    def __init__(self, calls: int) -> None:
        self.left, self.calls = _PATIENCE, calls

    def spend(self, outputs: list[Any]) -> None:
        self.left -= self.calls * (_OPERATION + _ENTRY * sum(np.size(one) for one in outputs))
        if self.left < 0:
            raise _TooLong


def _run(closed: Any, values: list[Any], budget: _Budget) -> list[Any]:
    """The outputs of a traced program."""
    jaxpr, constants = (closed.jaxpr, closed.consts) if hasattr(closed, "consts") else (closed, ())
    known: dict[Any, Any] = dict(zip(jaxpr.constvars, map(np.asarray, constants), strict=True))
    known.update(zip(jaxpr.invars, values, strict=True))

    def read(atom: Any) -> Any:
        aval: Any = atom.aval
        return np.asarray(atom.val, aval.dtype) if isinstance(atom, Literal) else known[atom]

    for equation in jaxpr.eqns:
        name, inputs = equation.primitive.name, [read(atom) for atom in equation.invars]
        if name in _CALLS:
            out = _CALLS[name](equation, inputs, budget)
        elif name in _ELEMENTWISE:
            out = [_ELEMENTWISE[name](*inputs)]
        elif name in _SHAPES:
            out = _SHAPES[name](*inputs, **equation.params)
            out = out if equation.primitive.multiple_results else [out]
        else:  # an operation that is rare here: jax itself, compiled
            out = equation.primitive.bind(*map(jnp.asarray, inputs), **equation.params)
            out = list(map(np.asarray, out if equation.primitive.multiple_results else [out]))
        budget.spend(out)
        known.update(zip(equation.outvars, out, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


class interpreted:
    """`jax.jit` for what is called a few times on little: traced, and worked out by NumPy without a compilation.

    What would take longer than compiling is compiled after all. Results are NumPy arrays then, too. Inside a
    transformation it is the function itself.

    Args:
        function: of pytrees of arrays.
        calls: how often it is called at a time.

    Example:
        >>> import numpy as np
        >>> interpreted(lambda x: jnp.sin(x).sum())(np.zeros(3)).item()
        0.0
    """

    def __init__(self, function: Callable[..., Any], calls: int = 1) -> None:
        functools.update_wrapper(self, function)
        self._function, self._calls, self._compiled = function, calls, jax.jit(function)
        self._long: set[Any] = set()

    def __call__(self, *args: Any) -> Any:
        leaves, structure = jax.tree.flatten(args)
        if any(isinstance(leaf, Tracer) for leaf in leaves):
            return self._function(*args)
        types = tuple((np.shape(leaf), getattr(leaf, "dtype", type(leaf))) for leaf in leaves)
        key = structure, types, jax.config.jax_enable_x64
        if key not in self._long:
            trace = self._compiled.trace(*args)
            types = trace.jaxpr.in_avals
            values = [np.asarray(leaf, one.dtype) for leaf, one in zip(leaves, types, strict=True)]
            try:
                with np.errstate(all="ignore"):
                    out = [np.asarray(one) for one in _run(trace.jaxpr, values, _Budget(self._calls))]
                return jax.tree.unflatten(jax.tree.structure(trace.out_info), out)
            except _TooLong:
                self._long.add(key)
        return jax.tree.map(np.asarray, self._compiled(*args))
