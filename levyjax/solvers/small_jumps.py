"""Small jumps as Brownian motion: the covariance of what they add to the modes of a flow, and normal variates with it.

Jumps on one axis move several modes at once. Where these relax at different rates, their covariance changes with time
in shape, not in size alone, so that no constant root serves every time.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from levyjax.arrays import Numbers, apply, column, components, materialized

_UNRELATED = 1e-12  # correlations below this are rounding
_UNROLL = 8  # up to so many columns a root is one compiled expression


class Groups(NamedTuple):
    """Modes in groups of equal size that have no covariance with each other, the rest of a group filled with mode 0.

    Where the groups are the modes in their order, there is nothing to look up: no members, no places.
    """

    real: Any  # (size, groups): 1, or 0 where a group is filled up
    members: Any  # (size, groups) integers, or None
    place: Any  # (modes,): of each mode in the flattened members, or None

    def gather(self, rows: Any) -> Any:
        """Rows of modes (modes, *lanes), by groups: (size, groups, *lanes)."""
        if self.members is not None:
            return rows[self.members]
        size, groups = self.real.shape
        return rows.reshape(groups, size, *rows.shape[1:]).swapaxes(0, 1)

    def scatter(self, rows: Float[Array, "size groups lanes"]) -> Float[Array, "modes lanes"]:
        """Rows by groups, by modes."""
        if self.place is not None:
            return rows.reshape(-1, rows.shape[-1])[self.place]
        return rows.swapaxes(0, 1).reshape(-1, rows.shape[-1])

    def blocks(self, matrices: Float[np.ndarray, "modes modes *rest"]) -> Float[np.ndarray, "size size groups *rest"]:
        """The matrices' part within each group, 0 where a group is filled up."""
        members = self.gather(np.arange(len(matrices)))
        inside = matrices[members[:, None], members[None, :]]
        real = self.real[:, None] * self.real[None, :]
        return inside * real.reshape(real.shape + (1,) * (inside.ndim - 3))


def related(covariances: Float[np.ndarray, "modes modes axes"]) -> np.ndarray:
    """(modes, modes): which pairs have a covariance in any of the matrices that is more than rounding."""
    sizes = np.sqrt(np.maximum(np.einsum("iia->ia", covariances), 0))
    return (np.abs(covariances) > _UNRELATED * sizes[:, None] * sizes[None, :]).any(axis=-1)


def grouped(linked: np.ndarray) -> Groups:
    """The modes in groups, by which pairs are linked."""
    labels = components(linked)
    groups = [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]
    members = np.zeros((max(map(len, groups)), len(groups)), np.int32)
    place, real = np.zeros(len(labels), np.int32), np.zeros(members.shape)
    for index, group in enumerate(groups):
        members[: len(group), index], real[: len(group), index] = group, 1
        place[group] = np.arange(len(group)) * len(groups) + index
    in_order = np.array_equal(members.T.ravel(), np.arange(len(labels)))
    return Groups(real, None, None) if in_order else Groups(real, members, place)


def axis_covariances(columns: np.ndarray, variances: np.ndarray, alike: bool) -> Float[np.ndarray, "d d axes"]:
    """Covariance per unit of time for each unit of variance of an axis; of all axes at once, by the first's, if alike.

    Args:
        columns: what a unit of each axis does to the modes, (d, axes).
        variances: of the axes.
        alike: whether the axes' variances keep their ratios.
    """
    if alike:
        return ((columns * (variances / variances[0])) @ columns.T)[:, :, None]
    return columns[:, None, :] * columns[None, :, :]


def summed(parts: Float[Array, "*shape axes"], amounts: Float[Array, "rows lanes"]) -> Float[Array, "*shape lanes"]:
    """The sum over axes of parts times amounts, in a fixed order; amounts that `parts` has no axis for are left out."""
    added = parts[..., 0, None] * amounts[0]
    for axis in range(1, parts.shape[-1]):
        added = added + parts[..., axis, None] * amounts[axis]
    return added


def correlated(
    covariance: Float[Array, "size size groups lanes"], draws: Float[Array, "size groups lanes"]
) -> Float[Array, "size groups lanes"]:
    """Normal variates of this covariance from independent ones, by Cholesky's root.

    The covariance may be singular: a column of which rounding alone is left is 0.
    """
    size, eps = draws.shape[0], 4 * jnp.finfo(draws.dtype).eps
    if size > _UNROLL:
        return _correlated_by_columns(covariance, draws)
    covariance, draws = materialized((covariance, draws))
    left = [[covariance[i, j] for j in range(i + 1)] for i in range(size)]
    made, least = [jnp.zeros_like(draw) for draw in draws], [eps * left[j][j] for j in range(size)]
    for j in range(size):
        kept = left[j][j] > least[j]
        # once: a division by a root may be compiled as a product with its inverse, in one program and not in the next
        divisor = materialized(jnp.sqrt(jnp.where(kept, left[j][j], 1)))
        root = [jnp.where(kept, left[i][j] / divisor, 0) for i in range(j, size)]
        for i in range(j, size):
            made[i] = made[i] + root[i - j] * draws[j]
            for k in range(j + 1, i + 1):
                left[i][k] = left[i][k] - root[i - j] * root[k - j]
        left, made = materialized((left, made))
    return jnp.stack(made)


def _correlated_by_columns(
    covariance: Float[Array, "size size groups lanes"], draws: Float[Array, "size groups lanes"]
) -> Float[Array, "size groups lanes"]:
    """The same as a loop, where there are many columns."""
    least = 4 * jnp.finfo(draws.dtype).eps * jnp.einsum("iigl->igl", covariance)

    def take(j: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        left, made = carry
        pivot = left[j, j]
        kept = pivot > least[j]
        root = jnp.where(kept, left[:, j] / jnp.sqrt(jnp.where(kept, pivot, 1)), 0)
        return materialized((left - root[:, None] * root[None, :], made + root * draws[j]))

    return jax.lax.fori_loop(0, draws.shape[0], take, materialized((covariance, jnp.zeros_like(draws))))[1]


def relaxed(decay: Float[Numbers, " modes"], time: Float[Array, " lanes"], groups: Groups) -> Array:
    """The integral of exp(-(k_i + k_j) s) over s from 0 to `time`, (size, size, groups, lanes).

    From each mode's own 1 - exp(-k t), which loses no digits where k t is small.
    """
    gone = materialized(groups.gather(-jnp.expm1(-column(decay, time[None]) * time)))
    rates = groups.gather(jnp.asarray(decay))
    rates = (rates[:, None] + rates[None, :])[..., None]
    pairs = gone[:, None] + gone[None, :] - gone[:, None] * gone[None, :]
    return jnp.where(rates > 0, pairs / jnp.where(rates > 0, rates, 1), time)


class Turning(NamedTuple):
    """What small jumps add to modes that may turn, by the law S in which they settle: S - E S E' over a time.

    Modes are real: a complex pair gives its real and its imaginary part, each the other's partner, and E takes y_i to
    exp(-decay_i t) (cos(turn_i t) y_i + sin(turn_i t) y_partner).
    """

    decay: Float[Numbers, " modes"]
    turn: Float[Numbers, " modes"]
    basis: Float[Numbers, "n modes"]  # the modes in columns
    groups: Groups
    parts: Any  # (4, size, size, groups, axes): S; with i's, j's and both partners in their places

    def amount(self, time: Float[Array, " lanes"], factors: Float[Array, "axes lanes"], draws: Array) -> Array:
        """What they add in `time`, for factors by which each axis' S is multiplied."""
        decay, turn = column(self.decay, draws), column(self.turn, draws)
        angle = turn * jnp.minimum(time, 40 / jnp.maximum(decay, 1e-30))
        size = jnp.exp(-decay * time)
        gone = -jnp.expm1(-decay * time) + 2 * size * jnp.sin(angle / 2) ** 2  # no digits lost where t is short
        gone, swapped = materialized((self.groups.gather(gone), self.groups.gather(size * jnp.sin(angle))))
        whole, first, second, both = summed(self.parts, factors)
        left = gone[:, None] * whole - swapped[:, None] * first
        crossed = gone[:, None] * second - swapped[:, None] * both
        right = gone[None, :] * whole - swapped[None, :] * second
        covariance = left + right - gone[None, :] * left + swapped[None, :] * crossed
        made = self.groups.scatter(correlated(covariance, self.groups.gather(draws)))
        return apply(self.basis, materialized(made))


def turning(values: np.ndarray, vectors: np.ndarray, settled_laws: Float[np.ndarray, "n n axes"]) -> Turning:
    """From the eigenvalues (negated) and eigenvectors of a real system, and the axes' settled covariances."""
    real, pair = np.flatnonzero(np.imag(values) == 0), np.flatnonzero(np.imag(values) > 0)
    columns = [np.real(vectors[:, i]) for i in real]
    decay, turn, partner = [*np.real(values[real])], [0.0] * len(real), [*range(len(real))]
    for i in pair:
        columns += [2 * np.real(vectors[:, i]), -2 * np.imag(vectors[:, i])]
        decay += [np.real(values[i])] * 2
        turn += [np.imag(values[i]), -np.imag(values[i])]
        partner += [len(partner) + 1, len(partner)]
    basis = np.stack(columns, axis=1)
    inverse = np.linalg.inv(basis)
    laws = np.einsum("ij,jka,lk->ila", inverse, settled_laws, inverse)
    linked = related(laws)
    linked[np.arange(len(partner)), partner] = linked[partner, np.arange(len(partner))] = True
    groups = grouped(linked)
    swaps = (laws, laws[partner], laws[:, partner], laws[partner][:, partner])
    decay, turn, basis = (np.array(part, np.float64) for part in (decay, turn, basis))
    return Turning(decay, turn, basis, groups, np.stack([groups.blocks(swap) for swap in swaps]))
