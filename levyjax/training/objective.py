"""Any model's loss as a function of one flat vector: its parameters from a tree, its mini-batches from trees."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

ALL_EXAMPLES, MINI_BATCHES, GIVEN = "all examples", "mean of the mini-batches", "given by the user"
_HALVES = ("float16", "bfloat16")
_RANDOM = ("random_bits", "threefry2x32", "rng_bit_generator", "rng_uniform")  # primitives that draw
_DRAWS = 16  # of a loss that draws, to tell a sum from a mean
_SAME = 1e-4  # relative difference of losses that are taken for the same
_MANY, _SUM = 5.0, 0.25  # standard errors; relative difference from twice the loss


class _Leaf(NamedTuple):
    """What one leaf of the parameters is: "parameter", "stream" (a random key of nnx), "array" or "fixed"."""

    kind: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    value: Any = None


@dataclasses.dataclass(frozen=True)
class _Form:
    """What a compiled program is made for: the function, the tree of parameters and how the function is called.

    It is called as (vector, arrays, batch, index), index being the number of the mini-batch, and gives losses (batch,)
    or their mean.
    """

    loss: Callable[..., Any]
    tree: Any
    leaves: tuple[_Leaf, ...]
    graph: Any
    layout: str  # of what the batch is handed over as: "parts", "first" or "whole"
    names: tuple[str, ...]  # of "key" and "state" those that the function takes

    def __call__(self, vector: jax.Array, arrays: Any, batch: Any, index: Any) -> jax.Array:
        given = {}
        if "key" in self.names:
            given["key"] = jax.random.fold_in(arrays["key"], index)
        if "state" in self.names:
            given["state"] = _on_streams(lambda keys, _: _folded(keys, index), arrays["state"])
        parts = {"parts": batch, "first": batch[:1], "whole": (batch,)}[self.layout]
        found = self.loss(self.parameters(vector, arrays, index), *parts, **given)
        return jnp.asarray(found[0] if isinstance(found, tuple) else found)

    def at_rest(self, arrays: Any) -> tuple["_Form", Any]:
        """The same for a model that draws nothing, without its random streams, in the precision of the vector."""
        rest = zip((leaf for leaf in self.leaves if leaf.kind in ("stream", "array")), arrays["leaves"], strict=True)
        kept = [array for leaf, array in rest if leaf.kind == "array"]
        still = _Leaf("fixed", value=np.uint32(0))
        leaves = (still if leaf.kind == "stream" else leaf._replace(dtype="") for leaf in self.leaves)
        return dataclasses.replace(self, leaves=tuple(leaves)), arrays | {"leaves": kept}

    def parameters(self, vector: jax.Array, arrays: Any, index: Any) -> Any:
        """The tree, or the nnx module, whose parameters are the vector, as the mini-batch of this number sees it."""
        rest, start, leaves = iter(arrays["leaves"]), 0, []
        for leaf in self.leaves:
            if leaf.kind == "parameter":
                stop = start + int(np.prod(leaf.shape))
                leaves.append(_shaped(vector, start, stop, leaf))
                start = stop
            elif leaf.kind == "stream":
                leaves.append(_folded(next(rest), index))
            else:
                leaves.append(leaf.value if leaf.kind == "fixed" else next(rest))
        tree = jax.tree.unflatten(self.tree, leaves)
        return tree if self.graph is None else nnx.merge(self.graph, tree)


@dataclasses.dataclass(frozen=True, eq=False)
class Objective:
    """A loss at fixed parameters, checked: a function of one flat vector and of mini-batches.

    Attributes:
        form: the compiled programs' static part.
        vector: (num_parameters,), float32 or float64.
        arrays: what else the function takes: arrays that are not trained, keys, state.
        slices: name of a parameter array -> (start, stop); {} for a single array without a name.
        draws: whether it draws random numbers, anew for each mini-batch.
        each: whether it gives a loss for each example; otherwise the mean of a mini-batch.
    """

    form: _Form
    vector: jax.Array
    arrays: Any
    slices: dict[str, tuple[int, int]]
    draws: bool
    each: bool


def objective_of(loss: Any, parameters: Any, batch: Any, *, key: Any = None, state: Any = None) -> Objective:
    """Check a loss on the shapes of one mini-batch, without compiling or running anything.

    Args:
        loss: (parameters, x, y) or (parameters, x) -> losses (batch,), or their mean (); also a tuple whose first part
            is that, as functions for `jax.value_and_grad(..., has_aux=True)` return it.
        parameters: any pytree of arrays, an nnx module or state.
        batch: an example mini-batch: (x, y) for a function of these, or one pytree; leaves have a leading axis.
        key: handed over as `key=`, folded in with the number of the mini-batch.
        state: handed over as `state=`.

    Returns:
        The objective.

    Raises:
        ValueError: one sentence on what does not fit.
    """
    if not callable(loss):
        raise ValueError(f"loss is a {type(loss).__name__}: give a function (parameters, x, y) -> losses.")
    graph, tree = nnx.split(parameters) if isinstance(parameters, nnx.Module) else (None, parameters)
    leaves, arrays, vector, slices = _leaves(tree)
    streams = any(leaf.kind == "stream" for leaf in leaves) or bool(_streams_in(state))
    if key is not None:
        key = _random_key(key)
        arrays, state = _reseeded(leaves, arrays, key), _on_streams(functools.partial(_from, key), state)
    names, layout = _call(loss, batch, key, state, streams)
    treedef = jax.tree.structure(tree)
    form = _hashable(_Form(loss, treedef, leaves, graph, layout, names))
    held = {"leaves": arrays, "key": key, "state": state}
    size = batch_size(batch)
    shape, draws = _traced(form, vector, held, batch)
    if shape.shape not in ((), (size,)) or not jnp.issubdtype(shape.dtype, jnp.floating):
        raise ValueError(
            f"the loss gives {shape.dtype} of shape {shape.shape} for a mini-batch of {size} examples: give the loss "
            f"of each example, ({size},), or their mean, ()."
        )
    if draws and key is None and not streams:
        raise ValueError(
            "the loss draws random numbers with a key of its own, so that every mini-batch would see the same ones: "
            "give key=, and a loss that takes it, (parameters, x, y, key=None)."
        )
    slices = {} if treedef == jax.tree.structure(0) else slices
    return Objective(form, vector, held, slices, draws, shape.shape == (size,))


def as_arrays(tree: Any, name: str = "x") -> Any:
    """The leaves of a tree of examples as device arrays; halves as float32.

    NumPy and JAX arrays, and anything with `__dlpack__` or `__array__`.

    Raises:
        ValueError: a leaf is no array, or has no leading axis.
    """

    def leaf(path: Any, value: Any) -> jax.Array:
        where = name + jax.tree_util.keystr(path)
        array = as_array(value, where)
        if array.ndim == 0:
            raise ValueError(f"{where} is a single number: give an array with one row for each example.")
        return widened(jnp.asarray(array))

    return jax.tree_util.tree_map_with_path(leaf, tree)


def as_array(value: Any, name: str) -> Any:
    """A NumPy or JAX array of numbers from what has `__array__` or `__dlpack__`, such as a tensor of PyTorch.

    Raises:
        ValueError: it is no array of numbers.
    """
    if isinstance(value, jax.Array):
        return value
    try:
        array = np.asarray(value.detach() if hasattr(value, "detach") else value)
        if array.dtype == object and hasattr(value, "__dlpack__"):
            array = np.from_dlpack(value)
    except Exception as error:
        try:
            array = jnp.from_dlpack(value)
        except Exception:
            reason = str(error).split("\n")[0][:100]
            raise ValueError(f"{name} is a {type(value).__name__} that gives no array ({reason}).") from None
    if not (array.dtype.kind in "biufc" or jnp.issubdtype(array.dtype, jnp.floating)):
        raise ValueError(f"{name} has dtype {array.dtype}, which holds no numbers. Give arrays of numbers.")
    return array


def widened(array: Any) -> Any:
    """Halves as float32."""
    return array.astype(np.float32) if str(getattr(array, "dtype", "")) in _HALVES else array


def batch_size(tree: Any) -> int:
    """The length of the leading axis that all leaves share.

    Raises:
        ValueError: no leaf, or different lengths.
    """
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    sizes = {jax.tree_util.keystr(path).lstrip(".") or "batch": leaf.shape[0] for path, leaf in leaves}
    if not sizes or 0 in sizes.values():
        raise ValueError("there are no examples: give arrays with one row for each.")
    if len(set(sizes.values())) > 1:
        shown = ", ".join(f"{where} {size}" for where, size in list(sizes.items())[:4])
        raise ValueError(f"the examples have different numbers of rows ({shown}): give one row for each example.")
    return next(iter(sizes.values()))


def names_of(tree: Any) -> list[str]:
    """Names of the leaves of a tree, from the way to each: "layers.0.kernel".

    Example:
        >>> names_of({"out": [1, 2], "in": 3}), names_of(1)
        (['in', 'out.0', 'out.1'], ['parameters'])
    """
    return [_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]


def _name(path: Sequence[Any]) -> str:
    if len(path) > 1 and getattr(path[-1], "name", "") in ("value", "raw_value"):  # of a variable of nnx
        path = path[:-1]
    parts = [
        getattr(part, attribute) for part in path for attribute in ("key", "name", "idx") if hasattr(part, attribute)
    ]
    return ".".join(map(str, parts)) or "parameters"


def _leaves(tree: Any) -> tuple[tuple[_Leaf, ...], list[Any], jax.Array, dict[str, tuple[int, int]]]:
    """What each leaf is, the arrays that are no parameters, and all parameters in one vector with their names."""
    if isinstance(tree, dict) and {"params", "batch_stats"} <= set(tree):
        raise ValueError("parameters hold batch_stats, which are not trained: give variables['params'], and state=.")
    kinds, leaves, arrays, pieces, slices, start = _kinds(tree), [], [], [], {}, 0
    for (path, value), kind in zip(jax.tree_util.tree_flatten_with_path(tree)[0], kinds, strict=True):
        name = _name(path)
        if kind == "parameter":
            array = jnp.asarray(as_array(value, f"parameter {name}"))
            if jnp.issubdtype(array.dtype, jnp.complexfloating):
                raise ValueError(f"parameter {name} is complex: give real parameters.")
            kept = "float32" if str(array.dtype) in _HALVES else str(array.dtype)
            leaves.append(_Leaf(kind, array.shape, kept))
            pieces.append(array)
            slices[name] = (start, start + array.size)
            start += array.size
        elif kind == "fixed":
            leaves.append(_Leaf(kind, value=value))
        else:
            leaves.append(_Leaf(kind))
            arrays.append(jnp.asarray(value))
    if start == 0:
        raise ValueError(
            f"parameters ({type(tree).__name__}) hold no floating-point numbers: give the model's arrays of parameters."
        )
    dtype = jnp.result_type(*(leaf.dtype for leaf in leaves if leaf.kind == "parameter"))
    whole = [piece.astype(dtype).reshape(-1) for piece in pieces]
    return tuple(leaves), arrays, whole[0] if len(whole) == 1 else jnp.concatenate(whole), slices


def _kinds(tree: Any) -> Iterator[str]:
    """The kind of every leaf. Of nnx variables only `nnx.Param` is trained, where there are any."""
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, nnx.Variable))
    trained = any(isinstance(node, nnx.Param) for node in nodes)
    plain = iter(jax.tree_util.tree_flatten_with_path(tree)[0])
    for node in nodes:
        for _ in jax.tree.leaves(node):
            path, value = next(plain)
            if isinstance(node, nnx.RngKey):
                yield "stream"
            elif isinstance(node, nnx.Variable) and trained and not isinstance(node, nnx.Param):
                yield "array"
            else:
                yield _kind(path, value)


def _kind(path: Sequence[Any], value: Any) -> str:
    """Floating arrays are parameters, and so are numbers of plain containers; a number in an object is a setting."""
    if isinstance(value, float):
        plain = (jax.tree_util.DictKey, jax.tree_util.SequenceKey)
        return "parameter" if all(isinstance(part, plain) for part in path) else "fixed"
    dtype = getattr(value, "dtype", None)
    if dtype is None or isinstance(value, type):
        return "fixed"
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return "parameter" if jnp.issubdtype(dtype, jnp.inexact) else "array"
    return "parameter" if hasattr(value, "__array__") or hasattr(value, "__dlpack__") else "fixed"


def _shaped(vector: jax.Array, start: int, stop: int, leaf: _Leaf) -> jax.Array:
    """One array of the vector; the vector itself where it is the only one."""
    piece = vector if stop - start == vector.size else jax.lax.slice(vector, (start,), (stop,))
    piece = piece if piece.shape == leaf.shape else piece.reshape(leaf.shape)
    return piece if leaf.dtype in ("", str(piece.dtype)) else piece.astype(leaf.dtype)


def _folded(keys: jax.Array, index: Any) -> jax.Array:
    """Keys of any shape, of old or new style, each folded in with a number."""
    typed = jnp.issubdtype(keys.dtype, jax.dtypes.prng_key)
    function = jax.random.fold_in
    for _ in range(keys.ndim - (0 if typed else 1)):
        function = jax.vmap(function, (0, None))
    return function(keys, index)


def _reseeded(leaves: Sequence[_Leaf], arrays: list[Any], key: jax.Array) -> list[Any]:
    """Every random stream from the key and its place."""
    kept = [leaf for leaf in leaves if leaf.kind in ("stream", "array")]
    return [
        _from(key, array, place) if leaf.kind == "stream" else array
        for place, (leaf, array) in enumerate(zip(kept, arrays, strict=True))
    ]


def _from(key: jax.Array, keys: jax.Array, place: int) -> jax.Array:
    """New keys of the shape of others, from one key and their place."""
    made = jax.random.split(jax.random.fold_in(key, place), keys.size or 1)
    return made.reshape(keys.shape)


def _streams_in(tree: Any) -> list[Any]:
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, nnx.Variable))
    return [node for node in nodes if isinstance(node, nnx.RngKey)]


def _on_streams(function: Callable[[jax.Array, int], jax.Array], tree: Any) -> Any:
    """A tree with the keys of its random streams replaced by a function of each and of its place."""
    count = iter(range(len(_streams_in(tree))))

    def node(value: Any) -> Any:
        if not isinstance(value, nnx.RngKey):
            return value
        place = next(count)
        return jax.tree.map(lambda keys: function(keys, place), value)

    return jax.tree.map(node, tree, is_leaf=lambda value: isinstance(value, nnx.Variable))


def _random_key(key: Any) -> Any:
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return jax.random.key(int(key))
    dtype, shape = getattr(key, "dtype", np.int32), getattr(key, "shape", None)
    if jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ():
        return key
    if dtype == np.uint32 and shape == (2,):
        return jax.random.wrap_key_data(jnp.asarray(key))
    raise ValueError(f"key is no random key ({type(key).__name__}): give jax.random.key(0), or a whole number.")


def _call(loss: Any, batch: Any, key: Any, state: Any, streams: bool) -> tuple[tuple[str, ...], str]:
    """Which of key and state the function takes, and whether the parts of a batch, its first alone or all as one."""
    try:
        signature = inspect.signature(loss)
    except (TypeError, ValueError):
        return tuple(n for n, v in (("key", key), ("state", state)) if v is not None), "parts"
    takes = [
        name
        for name, part in signature.parameters.items()
        if part.kind in (part.KEYWORD_ONLY, part.POSITIONAL_OR_KEYWORD)
    ]
    anything = any(part.kind is part.VAR_KEYWORD for part in signature.parameters.values())
    names = []
    for name, value in (("key", key), ("state", state)):
        if value is not None and (name in takes or anything):
            names.append(name)
        elif value is not None and not (name == "key" and streams):
            raise ValueError(f"{name} is given, and the loss takes none: give a loss (parameters, x, y, {name}=None).")
    given = dict.fromkeys(names)

    def binds(*parts: Any) -> bool:
        try:
            signature.bind(None, *parts, **given)
        except TypeError:
            return False
        return True

    if isinstance(batch, Pair):
        order = ("first", "parts") if batch[1] is None else ("parts", "whole")
        count = {"first": 1, "parts": 2, "whole": 1}
    else:
        splits = isinstance(batch, tuple | list) and len(batch) > 1 and _required(signature, given) != 1
        order, count = (
            (("parts", "whole") if splits else ("whole",)),
            {"parts": len(batch) if splits else 0, "whole": 1},
        )
    for layout in order:
        if binds(*[None] * count[layout]):
            return tuple(names), layout
    raise ValueError(f"the loss takes {signature}: give a function (parameters, x, y) or (parameters, batch).")


def _required(signature: inspect.Signature, given: Any) -> int:
    """Positional arguments without a default after the parameters; -1 where there may be any number."""
    positional = [part for name, part in signature.parameters.items() if name not in given]
    if any(part.kind is part.VAR_POSITIONAL for part in positional):
        return -1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(part.kind in kinds and part.default is part.empty for part in positional) - 1


class Pair(NamedTuple):
    """Examples and labels, as two arguments; y may be None."""

    x: Any
    y: Any


def _hashable(form: _Form) -> Any:
    """The form as a static argument; one with settings that cannot be compared is compiled for itself."""
    try:
        hash(form)
    except TypeError:
        return _Own(form)
    return form


@dataclasses.dataclass(frozen=True, eq=False)
class _Own:
    """A form that is equal to itself alone."""

    form: _Form

    def __call__(self, *arguments: Any) -> jax.Array:
        return self.form(*arguments)

    def at_rest(self, arrays: Any) -> tuple[_Form, Any]:
        return self.form.at_rest(arrays)


def _traced(form: Any, vector: jax.Array, arrays: Any, batch: Any) -> tuple[Any, bool]:
    """Shape and type of what the loss gives, and whether it draws random numbers."""
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), batch)
    try:
        program, shape = jax.make_jaxpr(form, return_shape=True)(vector, arrays, shapes, np.int32(0))
    except Exception as error:
        reason = str(error).split("\n")[0].rstrip(".")[:300]
        if "TraceContext" in type(error).__name__:
            reason = "it changes an nnx model that it closes over; give the model itself as the parameters"
        what = ", ".join(f"{leaf.dtype} {leaf.shape}" for leaf in jax.tree.leaves(batch))
        raise ValueError(
            f"the loss fails on a mini-batch of {what} with {vector.size} parameters: {type(error).__name__}, {reason}."
        ) from error
    return shape, _has(program.jaxpr, _RANDOM)


def _has(program: Any, primitives: Sequence[str]) -> bool:
    """Whether a traced program, or one within it, has such a primitive."""
    for equation in program.eqns:
        if equation.primitive.name in primitives:
            return True
        inner = jax.tree.leaves(equation.params, is_leaf=lambda part: hasattr(part, "eqns") or hasattr(part, "jaxpr"))
        for part in inner:
            part = getattr(part, "jaxpr", part)
            if hasattr(part, "eqns") and _has(part, primitives):
                return True
    return False


# Whether a loss is the mean of the losses of its examples: by its values on a few of them.


@functools.partial(jax.jit, static_argnums=0)
def _values(form: Any, vector: jax.Array, arrays: Any, batch: Any, indices: jax.Array) -> jax.Array:
    return jax.lax.map(lambda index: form(vector, arrays, batch, index), indices)


def taken(batch: Any, rows: Any) -> Any:
    """Some rows of every leaf."""
    return jax.tree.map(lambda leaf: leaf[rows], batch)


def couples(objective: Objective, examples: Any) -> bool:
    """Whether the examples of a mini-batch change each other's losses, as batch statistics make them.

    Args:
        objective: the loss.
        examples: a few, two or more.
    """
    half = batch_size(examples) // 2
    first, second = np.arange(half), np.arange(half, 2 * half)
    index = np.zeros(1, np.int32)

    def of(*rows: np.ndarray) -> np.ndarray:
        batch = taken(examples, np.concatenate(rows))
        found = _values(objective.form, objective.vector, objective.arrays, batch, index)[0]
        return np.asarray(found, np.float64)

    one = of(first, second)
    if objective.each:
        return _differ(one[:half], of(first, np.zeros_like(first))[:half], one)
    if objective.draws:  # the masks of a mini-batch have its mean alone in common
        return True
    return _differ(one, (of(first, first) + of(second, second)) / 2, one)


def _differ(one: np.ndarray, other: np.ndarray, scale: np.ndarray) -> bool:
    if not np.isfinite(np.concatenate([np.ravel(part) for part in (one, other, scale)])).all():
        return False  # refused with the gradients, which are not finite either
    return bool(np.abs(one - other).max() > _SAME * np.abs(scale).max())


def check_mean(objective: Objective, examples: Any, coupled: bool) -> None:
    """Refuse a loss that is a sum over its examples: given twice, they have the same mean.

    Args:
        objective: the loss.
        examples: a few, one or more.
        coupled: whether they change each other's losses: it may then change somewhat.

    Raises:
        ValueError: it doubles, or changes without a reason.
    """
    if objective.each:
        return
    rows = np.arange(max(1, batch_size(examples) // 2))
    indices = np.arange(_DRAWS if objective.draws else 1, dtype=np.int32)
    try:
        once, twice = (
            np.asarray(_values(objective.form, objective.vector, objective.arrays, taken(examples, part), indices))
            for part in (rows, np.concatenate([rows, rows]))
        )
    except Exception:  # a model of one batch size
        return
    once, twice = once.astype(np.float64), twice.astype(np.float64)
    if not (np.isfinite(once).all() and np.isfinite(twice).all()):
        return
    more, mean = (twice - once).mean(), once.mean()
    error = (twice - once).std() / np.sqrt(len(indices))
    doubles = abs(more) > _MANY * error and abs(more - mean) < _SUM * abs(mean)
    if doubles or (not coupled and _differ(once, twice, once)):
        raise ValueError(
            f"the loss goes from {once.mean():.3g} to {twice.mean():.3g} where the examples are given twice: it is "
            "their sum. Give their mean, or the loss of each."
        )
