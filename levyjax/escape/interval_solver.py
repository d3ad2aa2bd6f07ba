"""The boundary value problem of an exit from an interval, by Galerkin's method or by Green's function."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
import scipy  # its parts load when they are used
from numpy.polynomial import legendre

_GRADING = 0.25  # ratio of neighbouring elements
_NEAR_ONE = 0.02  # where the kernel r^(1 - alpha) is taken minus 1, so that it tends to -log r
_OVERFLOW = 690  # log of the largest time
_MOST_UNKNOWNS = 8000  # some ten matrices of their square are held at a time: 5 GB


class Drifted(NamedTuple):
    """The problem on (0, 2) with generator -(-Laplacian)^(alpha/2) + b d/dx: time in (half width/noise level)^alpha."""

    alpha: float
    drift: Callable[[np.ndarray], np.ndarray]
    potential: Callable[[np.ndarray], np.ndarray]
    minimum: float


class Solution(NamedTuple):
    """Legendre coefficients (elements, degree + 1) of three functions on elements of the given sizes, and the rate."""

    sizes: np.ndarray
    time: np.ndarray
    above: np.ndarray
    density: np.ndarray
    rate: float

    def evaluate(self, coefficients: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Values at points given by their distances from both ends."""
        last = len(self.sizes) - 1
        from_low, low_at = _locate(self.sizes, np.clip(low, 0, 2))
        from_high, high_at = _locate(self.sizes[::-1], np.clip(high, 0, 2))
        element = np.where(low < 1, from_low, last - from_high)
        local = np.where(low < 1, low_at, -high_at)
        values = legendre.legval(local, np.moveaxis(coefficients[element], -1, 0), tensor=False)
        return np.where((low > 0) & (high > 0), values, 0.0)


def _locate(sizes: np.ndarray, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges = np.concatenate([[0.0], np.cumsum(sizes)])
    element = np.clip(np.searchsorted(edges, distance, side="right") - 1, 0, len(sizes) - 1)
    return element, np.clip(2 * (distance - edges[element]) / sizes[element] - 1, -1, 1)


def _gauss(count: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = legendre.leggauss(count)
    return (nodes + 1) / 2, weights / 2


def _graded(length: float, first: float, last: float) -> np.ndarray:
    """Sizes of elements that shrink geometrically to `first` and to `last` at the ends of a segment."""
    halves = []
    for floor in (first, last):
        floor = min(floor, length / 4)
        levels = max(1, math.ceil(math.log(2 * floor / length) / math.log(_GRADING)))
        distances = length / 2 * (2 * floor / length) ** (np.arange(levels, -1, -1) / levels)
        halves.append(np.diff(distances, prepend=0.0))
    return np.concatenate([halves[0], halves[1][::-1]])


def _special_points(drifted: Drifted) -> list[float]:
    """The minimum and the other zeros of the drift."""
    grid = np.linspace(0, 2, 2001)[1:-1]
    values = drifted.drift(grid)
    at = np.flatnonzero(values[1:] * values[:-1] < 0)
    zeros = grid[at] - values[at] * (grid[at + 1] - grid[at]) / (values[at + 1] - values[at])
    return sorted([drifted.minimum, *(zero for zero in zeros if abs(zero - drifted.minimum) > 2e-3)])


def _zone(drifted: Drifted, neglected: float) -> tuple[float, float]:
    """Size of the elements at the ends, and how far from there the drift sets in (0: at once, after that element)."""
    alpha, speed = drifted.alpha, np.abs(drifted.drift(np.array([0.0, 2.0]))).max() + 1
    shortest = max(10 ** (-13 / max(1 - alpha, 0.1)), 1e-40)  # shorter ones lose digits below alpha = 1
    zone = max(neglected ** (1 / max(1, alpha)), speed * (10 * shortest) ** alpha)
    if zone > 1e-8 or alpha < 0.65:
        return max(neglected ** (1 / alpha), 1e-18), 0.0
    return max(min(neglected ** (1 / alpha), 0.1 * (zone / speed) ** (1 / alpha)), shortest), zone


def _mesh(drifted: Drifted, neglected: float) -> np.ndarray:
    """Sizes of elements, graded towards the ends and towards each zero of the drift."""
    end = _zone(drifted, neglected)[0]
    points = _special_points(drifted)
    near = np.array(points)[:, None] + 1e-3 * np.array([-1, 1])
    slope = np.abs(np.diff(drifted.drift(near.ravel()).reshape(near.shape))[:, 0]) / 2e-3
    floors = 0.1 * (1 + slope) ** (-1 / drifted.alpha) * neglected**0.1
    edges, floors = [0.0, *points, 2.0], [end, *floors, end]
    return np.concatenate([_graded(edges[i + 1] - edges[i], floors[i], floors[i + 1]) for i in range(len(edges) - 1)])


class _Kernel:
    """c r^(1 - alpha), the kernel of (-Laplacian)^(alpha/2) between derivatives; c (r^(1 - alpha) - 1) near alpha = 1.

    The constant changes nothing, because derivatives of functions that vanish at both ends have mean 0.
    """

    def __init__(self, alpha: float, degree: int) -> None:
        self.alpha, self.shifted = alpha, abs(alpha - 1) < _NEAR_ONE
        self.nodes, plain = _gauss(degree + 1)
        basis = legendre.legvander(2 * self.nodes - 1, degree) * (2 * np.arange(degree + 1) + 1)
        self._constant = plain if self.shifted else np.zeros_like(plain)
        self._weights = plain * (basis @ self._moments(degree))

    def __call__(self, r: np.ndarray) -> np.ndarray:
        if self.alpha == 1:
            return -np.log(r) / math.pi
        power = (1 - self.alpha) * np.log(r)
        return _factor(self.alpha) * (np.expm1(power) if self.shifted else np.exp(power))

    def weights(self, scale: np.ndarray) -> np.ndarray:
        """(nodes, *scale.shape): of integral_0^1 K(scale r) q(r) dr, exact up to the degree."""
        constant = self(scale) if self.shifted else np.zeros_like(scale)
        powers = np.multiply.outer(self._weights, scale ** (1 - self.alpha))
        return powers + np.multiply.outer(self._constant, constant)

    def _moments(self, degree: int) -> np.ndarray:
        """integral_0^1 K(r) P_k(2 r - 1) dr."""
        if not self.shifted:
            return _power_moments(self.alpha, degree)
        # Analytic in alpha: interpolated from eight neighbours, none of which is 1.
        alphas = 1 + 1.5 * _NEAR_ONE * np.cos((np.arange(8) + 0.5) * math.pi / 8)
        moments = np.array([_power_moments(alpha, degree) for alpha in alphas])
        moments[:, 0] -= [_factor(alpha) for alpha in alphas]
        shares = [np.prod((self.alpha - (others := alphas[alphas != at])) / (at - others)) for at in alphas]
        return np.array(shares) @ moments


def _factor(alpha: float) -> float:
    return -1 / (2 * scipy.special.gamma(2 - alpha) * math.cos(math.pi * alpha / 2))


def _power_moments(alpha: float, degree: int) -> np.ndarray:
    """integral_0^1 c r^(1 - alpha) P_k(2 r - 1) dr."""
    steps = (np.arange(degree) + alpha - 1) / (np.arange(degree) + 3 - alpha)
    return _factor(alpha) / (2 - alpha) * np.cumprod(np.concatenate([[1.0], steps])) * (-1.0) ** np.arange(degree + 1)


def _own_block(kernel: _Kernel, degree: int) -> np.ndarray:
    """(degree, degree): the kernel between P_k and P_l on an element of size 1."""
    nodes, weights = kernel.nodes, kernel.weights(np.ones(()))
    inner, inner_weights = legendre.leggauss(degree + 1)
    at = (1 - nodes)[:, None] * inner
    upper, lower = (legendre.legvander(at + shift * nodes[:, None], degree - 1) for shift in (1, -1))
    half = np.einsum("ri,rik,ril->kl", np.outer(weights * (1 - nodes), inner_weights), upper, lower, optimize=True) / 2
    return half + half.T


def _neighbour_block(kernel: _Kernel, below: float, degree: int) -> np.ndarray:
    """(degree, degree): the kernel between an element of size 1 and the one below it, by Duffy's transformation."""
    ratio, ratio_weights = _gauss(degree + 20)
    far, near = np.broadcast_arrays(kernel.nodes[:, None], kernel.nodes[:, None] * ratio)
    block = np.zeros((degree, degree))
    for above_at, below_at, scale in ((far, near, 1 + below * ratio), (near, far, below + ratio)):
        rows = legendre.legvander(2 * above_at - 1, degree - 1)
        columns = legendre.legvander(1 - 2 * below_at, degree - 1)
        total = (kernel.weights(scale) * far * ratio_weights).ravel()[:, None]
        block += (total * rows.reshape(-1, degree)).T @ columns.reshape(-1, degree)
    return block


def _kernel_matrix(kernel: _Kernel, sizes: np.ndarray, degree: int) -> np.ndarray:
    """The kernel between the P_k/size of all elements."""
    count = len(sizes)
    nodes, weights = _gauss(degree + 18)
    basis = weights[:, None] * legendre.legvander(2 * nodes - 1, degree - 1)
    own, matrix = _own_block(kernel, degree), np.zeros((count, degree, count, degree))
    neighbours: dict[float, np.ndarray] = {}
    for i, size in enumerate(sizes):
        power, constant = size ** (1 - kernel.alpha), kernel(size) if kernel.shifted else 0.0
        matrix[i, :, i] = own * power / 2
        matrix[i, 0, i, 0] += constant / 2
        if i > 0:
            ratio = sizes[i - 1] / size
            if (key := round(ratio, 13)) not in neighbours:
                neighbours[key] = _neighbour_block(kernel, ratio, degree)
            matrix[i, :, i - 1] = neighbours[key] * power
            matrix[i, 0, i - 1, 0] += constant
        if i > 1:
            gaps = np.cumsum(sizes[i - 1 : 0 : -1])[::-1]
            below = gaps[:, None] + sizes[: i - 1, None] * (1 - nodes)
            values = kernel(below + size * nodes[:, None, None])
            matrix[i, :, : i - 1] = np.einsum("ijn,ik,nl->kjl", values, basis, basis, optimize=True)
    flat = matrix.reshape(count * degree, -1)
    return flat + flat.T


class _Space(NamedTuple):
    """Piecewise polynomials: unknowns are values at the edges, then P_1 ... P_(degree-1) of each size times slope."""

    slopes: Any  # unknowns to coefficients of the derivative in P_k/size
    values: Any  # unknowns to Legendre coefficients
    mass: Any
    load: np.ndarray


def _space(sizes: np.ndarray, degree: int) -> _Space:
    count = len(sizes)
    element = np.arange(count)
    bubbles = count + 1 + np.arange(count * (degree - 1)).reshape(count, degree - 1)
    width = count + 1 + count * (degree - 1)
    slope_rows = degree * element
    entries = [(slope_rows, element + 1, 1.0), (slope_rows, element, -1.0)]
    entries += [(slope_rows + k, bubbles[:, k - 1], 1.0) for k in range(1, degree)]
    slopes = _sparse(entries, (count * degree, width))
    value_rows = (degree + 1) * element
    entries = [(value_rows + k, element + side, 0.5 * sign**k) for k in (0, 1) for side, sign in ((0, -1), (1, 1))]
    for k in range(1, degree):
        integral = 0.5 / (2 * k + 1)
        entries += [(value_rows + k + side, bubbles[:, k - 1], side * integral) for side in (-1, 1)]
    values = _sparse(entries, (count * (degree + 1), width))
    weights = (sizes[:, None] / (2 * np.arange(degree + 1) + 1)).ravel()
    load = np.zeros(count * (degree + 1))
    load[value_rows] = sizes
    return _Space(slopes, values, values.T @ scipy.sparse.diags_array(weights) @ values, values.T @ load)


def _sparse(entries: list[tuple[np.ndarray, np.ndarray, float]], shape: tuple[int, int]) -> Any:
    rows = np.concatenate([entry[0] for entry in entries])
    columns = np.concatenate([entry[1] for entry in entries])
    data = np.concatenate([np.full(len(entry[0]), entry[2]) for entry in entries])
    return scipy.sparse.csr_array((data, (rows, columns)), shape=shape)


def _advection(drifted: Drifted, space: _Space, sizes: np.ndarray, degree: int, neglected: float) -> Any:
    """integral v b u', the drift switched off next to the ends.

    There it may be too strong for any elements to resolve the layer in which the noise holds against it (below
    alpha = 1 there is none, and u jumps at the end). Without drift in a zone of length l the error is of order
    l^max(1, alpha). The drift sets in smoothly where elements can follow that, else at once; then
    only at ends where it points inwards, because what points outwards carries the values from the end inwards.
    """
    nodes, weights = _gauss(2 * degree + 8)
    edges = np.concatenate([[0.0], np.cumsum(sizes)[:-1]])
    from_low = edges[:, None] + sizes[:, None] * nodes
    from_high = np.cumsum(sizes[::-1])[::-1][:, None] - sizes[:, None] * nodes
    drift = drifted.drift(from_low.ravel()).reshape(from_low.shape)
    zone = _zone(drifted, neglected)[1]
    if zone == 0:
        drift[0], drift[-1] = np.minimum(drift[0], 0.0), np.maximum(drift[-1], 0.0)  # only what points inwards goes
    else:
        drift *= from_low * from_high / (from_low + zone) / (from_high + zone)
    polynomials = legendre.legvander(2 * nodes - 1, degree)
    blocks = np.einsum("en,nl,nk->elk", drift * weights, polynomials, polynomials[:, :-1], optimize=True)
    return (
        space.values.T
        @ scipy.sparse.block_diag([scipy.sparse.coo_array(block) for block in blocks], format="csr")
        @ space.slopes
    )


def _leading(operator: Any, start: np.ndarray) -> tuple[float, np.ndarray]:
    """The largest eigenvalue of a positive operator, which is real, and its vector."""
    values, vectors = cast(tuple[np.ndarray, np.ndarray], scipy.sparse.linalg.eigs(operator, k=1, v0=start))
    return float(np.real(values[0])), np.real(vectors[:, 0])


def galerkin(drifted: Drifted, degree: int) -> Solution:
    """Solve for alpha < 2 on graded elements of one degree."""
    neglected = 10.0 ** -(7 + degree / 2)
    sizes = _mesh(drifted, neglected)
    space = _space(sizes, degree)
    count, width = len(sizes), space.slopes.shape[1]
    _require_room(width)
    kernel = _kernel_matrix(_Kernel(drifted.alpha, 2 * degree), sizes, degree)
    form = space.slopes.T @ (kernel @ space.slopes)
    keep = np.delete(np.arange(width), [0, count])
    scale = 1 / np.sqrt(np.diag(form)[keep])
    form = form - _advection(drifted, space, sizes, degree, neglected).toarray()
    lift = (np.arange(width) == count).astype(float)
    factors = scipy.linalg.lu_factor(scale[:, None] * form[np.ix_(keep, keep)] * scale)
    mass = scipy.sparse.csr_array(space.mass)[keep][:, keep]

    def solve(right: np.ndarray, transposed: int = 0) -> np.ndarray:
        return scale * scipy.linalg.lu_solve(factors, scale * right, trans=transposed)

    def coefficients(unknowns: np.ndarray, ends: np.ndarray | float = 0.0) -> np.ndarray:
        full = np.zeros(width) + ends
        full[keep] += unknowns
        return (space.values @ full).reshape(count, degree + 1)

    time = solve(space.load[keep])
    above = solve(-form[keep, count])
    operator: Any = scipy.sparse.linalg.LinearOperator  # its stub knows the subclass's arguments only
    inverse = operator((len(keep), len(keep)), matvec=lambda v: solve(mass @ np.ravel(v), 1), dtype=float)
    value, vector = _leading(inverse, time)
    density = vector
    density /= density @ space.load[keep]
    return Solution(sizes, coefficients(time), coefficients(above, lift), coefficients(density), 1 / value)


class TooLarge(ValueError):
    """A system that does not fit into memory."""


def _require_room(unknowns: int) -> None:
    if unknowns > _MOST_UNKNOWNS:
        raise TooLarge(
            f"The drift is so steep beside the noise that {unknowns} unknowns would be needed, and {_MOST_UNKNOWNS} is "
            "the most that fit into memory: bring an end that is hardly ever reached nearer."
        )


def green_function(drifted: Drifted, degree: int) -> Solution:
    """Solve for alpha = 2 by Green's function, whose entries are all positive: any barrier keeps its digits."""
    sizes = _mesh(drifted, 1e-6)
    nodes, weights = _gauss(degree + 6)
    steep = np.abs(drifted.drift(np.cumsum(sizes))) + np.abs(drifted.drift(2 - np.cumsum(sizes[::-1])[::-1]))
    parts = np.ceil(sizes * steep / 8 + 1e-9).astype(int)
    count = len(nodes)
    sizes = np.repeat(sizes / parts, parts)
    to_legendre = legendre.legvander(2 * nodes - 1, count - 1) * weights[:, None] * (2 * np.arange(count) + 1)
    partial = _integrals(nodes, count) @ to_legendre.T
    log_below, log_above, log_speed, log_total = _scale_function(drifted, sizes, nodes, weights, partial)
    top = (log_below + log_above + log_speed).max() - log_total
    if top > _OVERFLOW:
        raise ValueError(f"The mean exit time is about exp({top:.0f}): too long for a float.")
    _require_room(len(sizes) * count)
    element = np.repeat(np.arange(len(sizes)), count)
    own = element[:, None] == element
    tiled, lengths = np.tile(weights, len(sizes)), np.repeat(sizes, count)
    inside = np.tile(partial, (len(sizes), len(sizes)))
    lower = np.where(own, inside, np.where(element[:, None] > element, tiled, 0.0)) * lengths
    upper = tiled * lengths - lower
    from_low = log_above[:, None] + (log_below + log_speed) - log_total
    from_high = log_below[:, None] + (log_above + log_speed) - log_total
    green = np.exp(np.where(lower != 0, from_low - top, -np.inf)) * lower
    green += np.exp(np.where(upper != 0, from_high - top, -np.inf)) * upper
    value, vector = _leading(green, green.sum(axis=1))
    density = vector * np.exp(log_speed - log_speed.max())
    density /= (density * tiled) @ lengths
    grids = [green.sum(axis=1) * math.exp(top), np.exp(log_below - log_total), density]
    time, above, density = (grid.reshape(-1, count) @ to_legendre for grid in grids)
    return Solution(sizes, time, above, density, math.exp(-top) / value)


def _integrals(nodes: np.ndarray, count: int) -> np.ndarray:
    """integral_0^t P_k(2 s - 1) ds at the nodes t, (nodes, count)."""
    values = legendre.legvander(2 * nodes - 1, count)
    order = np.arange(1, count)
    return np.column_stack([nodes, (values[:, 2:] - values[:, :-2]) / (2 * (2 * order + 1))])


def _scale_function(
    drifted: Drifted, sizes: np.ndarray, nodes: np.ndarray, weights: np.ndarray, partial: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Logarithms of the scale function's increments from below and above at all nodes, of the speed and the total."""
    edges = np.concatenate([[0.0], np.cumsum(sizes)[:-1]])
    potential = drifted.potential((edges[:, None] + sizes[:, None] * nodes).ravel()).reshape(len(sizes), -1)
    top = potential.max(axis=1, keepdims=True)
    values, tiny = np.exp(potential - top) * sizes[:, None], np.finfo(float).tiny
    totals = np.log(values @ weights) + top[:, 0]
    before = np.logaddexp.accumulate(np.concatenate([[-np.inf], totals[:-1]]))
    after = np.logaddexp.accumulate(np.concatenate([[-np.inf], totals[:0:-1]]))[::-1]
    below = np.logaddexp(before[:, None], np.log(np.maximum(values @ partial.T, tiny)) + top)
    above = np.logaddexp(after[:, None], np.log(np.maximum(values @ (weights - partial).T, tiny)) + top)
    return below.ravel(), above.ravel(), -potential.ravel(), float(np.logaddexp.reduce(totals))
