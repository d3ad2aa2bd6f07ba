"""Terms of the next order in D of integrals of exp(-F/D): over a well, across a saddle, through a wall."""

import math
from typing import Any

import numpy as np


def anharmonicity(second: Any, third: Any, fourth: Any) -> tuple[float, float]:
    """The terms of a in int exp(-F/D) = (2 pi D)^(d/2) det(H)^(-1/2) (1 + a D + ...) around a minimum of F.

    With G the inverse of H: -F_ijkl G_ij G_kl/8 and F_ijk F_lmn (G_ij G_kl G_mn/8 + G_il G_jm G_kn/12).

    Example:
        >>> anharmonicity([[2.0]], [[[0.0]]], [[[[6.0]]]])  # F = x^2 + x^4/4
        (-0.1875, 0.0)
    """
    third, inverse = np.asarray(third, float), np.linalg.inv(np.asarray(second, float))
    quartic = np.einsum("ijkl,ij,kl->", np.asarray(fourth, float), inverse, inverse, optimize=True)
    return float(-quartic / 8), _square(third, inverse) / 2


def _square(third: np.ndarray, inverse: np.ndarray) -> float:
    """The mean square of F_ijk y_i y_j y_k/6 under a normal law."""
    trace = np.einsum("ijk,ij->k", third, inverse)
    turned = np.einsum("ijk,il,jm,kn->lmn", third, inverse, inverse, inverse, optimize=True)
    return float(trace @ inverse @ trace / 4 + (turned * third).sum() / 6)


def saddle_order(second: Any, third: Any, fourth: Any) -> tuple[tuple[float, float], float]:
    """The terms that multiply D in the flux across a saddle; and, of a wall at the saddle, what multiplies sqrt(D).

    Source:
        The flux is D times the least of int |grad h|^2 exp(-F/D) for h from 1 to 0. In units of sqrt(D), with F/D = q +
        sqrt(D) c_3 + D c_4 and y_0 the way down at the rate -l: h_0' is exp(-l y_0^2/2), and h_0' g is the next term of
        h, where (A - l) g = d c_3/d y_0, A the generator of the Ornstein-Uhlenbeck process of rates |H|. Over its law
        the flux is 1 + D (<c_3^2>/2 - <c_4> + <g d c_3/d y_0>), worked out in Hermite polynomials. On the line that is
        1 - D (<c_3^2>/2 + <c_4>), as 1/int exp(F/D) has it.

    Example:
        >>> saddle_order([[-2.0]], [[[0.0]]], [[[[6.0]]]])[0]  # F = -x^2 + x^4/4
        (-0.1875, 0.0)
    """
    values, vectors = np.linalg.eigh(np.asarray(second, float))
    rates = np.abs(values)
    inverse = np.diag(1 / rates)
    third = np.einsum("ijk,il,jm,kn->lmn", np.asarray(third, float), *[vectors] * 3, optimize=True)
    fourth = np.einsum("ijkl,im,jn,ko,lp->mnop", np.asarray(fourth, float), *[vectors] * 4, optimize=True)
    quartic = np.einsum("iijj,i,j->", fourth, 1 / rates, 1 / rates)
    square = _square(third, inverse)
    # d c_3/d y_0 is sum_ab B_ab y_a y_b/2: products of two coordinates, and a constant
    bent = third[0]
    pairs = bent**2 / (2 * np.outer(rates, rates) * (rates[0] + rates[:, None] + rates[None, :]))
    taken = float(pairs.sum() + (np.diag(bent) / rates).sum() ** 2 / (4 * rates[0]))
    return (float(-quartic / 8), square / 2 - taken), math.sqrt(square)


def wall_order(
    curvature: np.ndarray, third: np.ndarray, fourth: np.ndarray, slope: float, slopes: tuple[Any, Any], across: float
) -> tuple[float, ...]:
    """The terms that multiply D in the flux through a flat wall.

    Args:
        curvature, third, fourth: derivatives of F along the wall at its least point, of the second to fourth order.
        slope: g, of F across the wall.
        slopes: the first and second derivatives of g along the wall.
        across: the second derivative of F across the wall.
    """
    first = -across / slope**2
    if not len(curvature):
        return (first,)
    inverse, (bent, bent_twice) = np.linalg.inv(curvature), slopes
    skew = bent @ inverse @ np.einsum("jkl,kl->j", third, inverse)
    return (
        first,
        (bent_twice * inverse).sum() / (2 * slope),
        -skew / (2 * slope),
        *anharmonicity(curvature, third, fourth),
    )
