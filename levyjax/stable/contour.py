"""The standard stable law's density and upper tail as one contour integral, for every alpha, beta and x.

**The integral.** With T = tan(pi alpha/2), x0 the point in Nolan's S0 and x1 = x0 + beta T the same point in S1,

    f(x) = Re int_0^inf exp(psi(t)) dt / pi,
    psi(t) = -i x0 t - t^alpha - i beta h(t),  h(t) = T (t - t^alpha)   (so psi = -i x1 t - (1 - i beta T) t^alpha),

and P(X > x) has the further factor 1/(i t). psi is analytic off the negative imaginary axis t = -i s, where it is

    p(s) + i q(s),  q(s) = (1 + beta) sin(pi alpha/2) s^alpha.

**The path** goes down that axis to -i lambda and from there along a ray to infinity. On the axis only
exp(p) sin q ds is left of the integrand: positive for q < pi, so nothing cancels, and for large x it is the power tail.
The ray starts at the saddle of exp(psi) where there is one, so it is the light tail (Gaussian at alpha = 2,
super-exponential at beta = -1), and carries its own factor exp(p(lambda)). Both parts are relatively right and have
one sign, so their sum is, too: nothing depends on which of them rules, and no value of alpha is special.

**Choices** (no result depends on them, so no derivative is taken of them). Points with x0 < 0 are reflected,
(x, beta) -> (-x, -beta), since x0 = 0 is in the middle of the law for all alpha.
* lambda: where p is least, p'(s) = -x1 - alpha c s^(alpha - 1) = 0, or infinity where p falls for ever; at least 0.2,
  and not beyond q = 1.5 or (nearly) p = -600.
* The ray's angle: 0 from a saddle at alpha > 1 (there steepest descent is horizontal, and t^alpha makes it decay),
  15 + 20 (1 - alpha) degrees up from a saddle at alpha <= 1 (x1 < 0: the factor exp(-i x1 t) has to decay), -30 where
  there is none. Where the saddle is beyond lambda and lambda p' below -2 (-6 for alpha <= 0.85) it is -5; for
  alpha <= 1.05, where the exponent turns around at the saddle's distance, -15 if that is beyond 20 lambda, else 8.
  Every angle within some 5 degrees gives the same numbers.
* Where p(lambda) < -1e5 (-1e3 in float32) rounding would hide the ray's fall, and Laplace's formula is as exact.
* On the axis tanh-sinh nodes (the integrand is of s^alpha at 0) up to p = -45; on the ray double-exponential nodes
  in the variable that brings its radii of decay by 1 and by 40 to a fixed place.

**Near alpha = 1** T is infinite and x1 is, too; for |alpha - 1| < 0.1 everything is written in x0 and
h(t) = t C expm1((alpha - 1) log t)/(alpha - 1), C = (alpha - 1) cot(pi (alpha - 1)/2), which is (2/pi) t log t at
alpha = 1; elsewhere in x1, which keeps the distance to the end of the support for alpha < 1.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_PI = math.pi
_NEAR = 0.1  # |alpha - 1| below which x0 is the variable
_PHASE = 1.5
_LEAST = 0.2


class _Format(NamedTuple):
    """Numbers of nodes and where the integrand is nothing, for a floating-point format."""

    axis: int
    ends: tuple[float, float]  # of the tanh-sinh nodes
    ray: int
    nothing: float  # integrands below exp(-nothing) of their largest value do not count
    largest_log: float
    widest: float  # log of the largest radius of a ray over its start
    deepest: float  # -p from which Laplace's formula serves


_FLOAT32 = _Format(axis=48, ends=(-3.5, 2.6), ray=48, nothing=20.0, largest_log=60.0, widest=40.0, deepest=1e3)
_FLOAT64 = _Format(axis=96, ends=(-4.4, 3.2), ray=96, nothing=42.0, largest_log=600.0, widest=60.0, deepest=1e5)
_COARSE = _FLOAT64._replace(axis=36, ends=(-3.3, 2.4), ray=36, nothing=22.0)  # to 1e-7


class _Law(NamedTuple):
    """A point of a standard law, and what the exponent needs of it."""

    x0: Any
    x: Any  # x0 near alpha = 1, x1 elsewhere
    alpha: Any
    beta: Any
    excess: Any  # alpha - 1
    near: Any
    cot: Any  # C
    tan: Any  # T, and any number where near
    sine: Any  # sin(pi alpha/2)
    jump: Any  # (1 + beta) sin(pi alpha/2)


def _expm1_ratio(u: Any) -> Any:
    small = jnp.abs(u) < 0.02
    safe = jnp.where(small, 1, u)
    series = 1 + u / 2 * (1 + u / 3 * (1 + u / 4 * (1 + u / 5 * (1 + u / 6 * (1 + u / 7)))))
    return jnp.where(small, series, jnp.expm1(safe) / safe)


def _sinc(v: Any) -> Any:
    small = jnp.abs(v) < 0.1
    safe, w = jnp.where(small, 1, v), v * v
    series = 1 - w / 6 * (1 - w / 20 * (1 - w / 42 * (1 - w / 72 * (1 - w / 110))))
    return jnp.where(small, series, jnp.sin(safe) / safe)


def tangent(alpha: Any) -> Any:
    """tan(pi alpha/2), and 0 at alpha = 1."""
    excess = alpha - 1
    safe = jnp.where(excess == 0, 1, excess)
    return jnp.where(excess == 0, 0, -jnp.cos(_PI / 2 * safe) / jnp.sin(_PI / 2 * safe))


def _law(x0: Any, x1: Any, alpha: Any, beta: Any) -> _Law:
    excess = alpha - 1
    near = jnp.abs(excess) < _NEAR
    cot = 2 / _PI * jnp.cos(_PI / 2 * excess) / _sinc(_PI / 2 * excess)
    sine = jnp.where(alpha > 1, jnp.sin(_PI / 2 * (2 - alpha)), jnp.sin(_PI / 2 * alpha))
    tan = -cot / jnp.where(near, 1, excess)
    return _Law(x0, jnp.where(near, x0, x1), alpha, beta, excess, near, cot, tan, sine, (1 + beta) * sine)


def _exponent(law: _Law, log_radius: Any, angle: Any) -> tuple[Any, Any]:
    """psi at t = exp(log_radius + i angle), as its real and imaginary part."""
    u, v = law.excess * log_radius, law.excess * angle
    growth, cos, sin = jnp.exp(u), jnp.cos(v), jnp.sin(v)
    half = jnp.sin(v / 2) * _sinc(v / 2) * angle  # 2 sin(v/2)^2/(alpha - 1)
    h_real = jnp.where(law.near, law.cot * (log_radius * _expm1_ratio(u) * cos - half), -law.tan * growth * cos)
    h_imag = jnp.where(law.near, law.cot * growth * _sinc(v) * angle, -law.tan * growth * sin)
    real = -growth * cos + law.beta * h_imag
    imag = -law.x - growth * sin - law.beta * h_real
    radius, c, s = jnp.exp(log_radius), jnp.cos(angle), jnp.sin(angle)
    return radius * (real * c - imag * s), radius * (real * s + imag * c)


def _on_axis(law: _Law, log_s: Any) -> Any:
    return _exponent(law, log_s, -_PI / 2)[0]


def _log_saddle(law: _Law) -> tuple[Any, Any, Any]:
    """log s of the least p, -inf where p rises from 0 on, inf where it falls for ever; whether p rises; p'' there."""
    e, c, sine = law.excess, law.cot, law.sine
    cosine = -jnp.sin(_PI / 2 * e)
    curvature = law.beta * c * sine + e * cosine  # (alpha - 1) times c in p = -x1 s - c s^alpha
    half = _PI / 2 * jnp.sin(_PI / 4 * e) * _sinc(_PI / 4 * e)  # (1 - sine)/(alpha - 1)
    safe = jnp.where(curvature == 0, 1, curvature)
    slope = (law.beta * c * (half - sine) - law.x0 - law.alpha * cosine) / (law.alpha * safe)
    far = -law.x * e / (law.alpha * safe)
    ratio = jnp.where(law.near, 1 + e * slope, far)  # s^(alpha - 1)
    tiny = jnp.abs(e * slope) < 1e-5
    log_near = jnp.where(tiny, slope - e * slope * slope / 2, jnp.log(jnp.maximum(ratio, 0)) / jnp.where(e == 0, 1, e))
    log_near = jnp.where(law.near & ~tiny, jnp.log1p(jnp.maximum(e * slope, -1)) / jnp.where(e == 0, 1, e), log_near)
    log_far = jnp.log(jnp.maximum(ratio, 0)) / jnp.where(law.near, 1, e)
    convex = curvature < 0
    missing = jnp.where(convex & (e > 0), -jnp.inf, jnp.inf)
    found = jnp.where(convex & (ratio > 0), jnp.where(law.near, log_near, log_far), missing)
    bend = -law.alpha * curvature * jnp.exp((law.alpha - 2) * found)
    return found, convex & ((ratio > 0) | (e > 0)), bend


def _first(condition: Any, low: Any, high: Any, steps: int) -> Any:
    """Where a condition starts to hold between low and high, by bisection."""

    def halve(_: Any, ends: tuple[Any, Any]) -> tuple[Any, Any]:
        low, high = ends
        middle = (low + high) / 2
        holds = condition(middle)
        return jnp.where(holds, low, middle), jnp.where(holds, middle, high)

    return lax.fori_loop(0, steps, halve, (low, high))[1]


def _axis_nodes(form: _Format) -> tuple[np.ndarray, np.ndarray]:
    """log v and the weights of dv/v of tanh-sinh nodes v on (0, 1)."""
    t = np.linspace(*form.ends, form.axis)
    log_odds = math.pi * np.sinh(t)
    return -np.logaddexp(0, -log_odds), math.pi * np.cosh(t) / (1 + np.exp(log_odds)) * (t[1] - t[0])


def _column(values: np.ndarray, like: Any) -> Any:
    return jnp.asarray(values.reshape((-1,) + (1,) * like.ndim), like.dtype)


def _axis_part(law: _Law, log_end: Any, form: _Format, tail: bool) -> Any:
    """The axis's integral over exp(alpha log_end), for the density over exp((1 + alpha) log_end)."""
    log_v, weights = (_column(values, log_end) for values in _axis_nodes(form))
    size = _on_axis(law, log_end + log_v) + law.alpha * log_v
    size = size if tail else size + log_v
    phase = law.jump * jnp.exp(law.alpha * (log_end + log_v))
    # the phase is cut from the sum: it may be smaller than any number
    drift = law.alpha * log_end
    return law.jump * (weights * jnp.exp(size) * _sinc(phase)).sum(0) * jnp.exp(drift - lax.stop_gradient(drift))


def _ray_part(law: _Law, log_lambda: Any, angle: Any, steep: Any, form: _Format, tail: bool) -> Any:
    """The ray's integral over exp(p(lambda))."""
    still = jax.tree.map(lax.stop_gradient, law)
    height = _on_axis(still, log_lambda)
    cos, sin = jnp.cos(angle), jnp.sin(angle)

    def at(law: _Law, ratio: Any) -> tuple[Any, Any]:  # ratio: y/lambda
        a, b = ratio * cos, ratio * sin - 1
        return _exponent(law, log_lambda + jnp.log(a * a + b * b) / 2, jnp.arctan2(b, a))

    def fallen(depth: float) -> Any:
        return lambda log_ratio: ~(height - at(still, jnp.exp(log_ratio))[0] <= depth)

    zero = jnp.zeros_like(height)
    # on a ray that goes down towards a far saddle the integrand grows again there, beyond the first fall
    outer = _first(fallen(form.nothing), zero - 30, jnp.where(steep, 7, form.widest), 16)
    inner = _first(fallen(1.0), outer - 25, outer, 12)
    power = jnp.clip(math.log(form.nothing) / (outer - inner), 0.1, 2)
    first, last = -jnp.log(form.nothing * power), math.log(form.nothing) + 0.03
    t = first + (last - first) * _column(np.linspace(0, 1, form.ray), height)
    fall = jnp.exp(-t)
    ratio = jnp.exp(jnp.clip(inner + (t - fall) / power, -form.widest, form.widest))
    weights = ratio * (1 + fall) / power * (last - first) / (form.ray - 1)
    real, imag = at(law, ratio)
    size, c, s = weights * jnp.exp(real - height), jnp.cos(imag), jnp.sin(imag)
    if not tail:
        return (size * (c * cos - s * sin)).sum(0) * jnp.exp(log_lambda)
    a, b = ratio * cos, ratio * sin - 1  # exp(i angle)/(i t) = (-b - i a) exp(i angle)/|t|^2
    front, side = a * sin - b * cos, -a * cos - b * sin
    return (size * (c * front - s * side) / (a * a + b * b)).sum(0)


def _angle(law: _Law, log_lambda: Any, log_saddle: Any, rises: Any) -> tuple[Any, Any]:
    step = 0.01
    slope = (_on_axis(law, log_lambda + step) - _on_axis(law, log_lambda - step)) / (2 * step)
    steep = rises & (slope < jnp.where(law.alpha > 0.85, -2, -6))
    steered = jnp.where(law.alpha > 1.05, -5, jnp.where(log_saddle > log_lambda + 3, -15, 8))
    light = jnp.where(steep, steered, jnp.where(law.alpha > 1, 0, 15 + 20 * (1 - law.alpha)))
    return jnp.where(rises, light, -30) * jnp.asarray(_PI / 180, log_lambda.dtype), steep


def parts(x0: Any, x1: Any, alpha: Any, beta: Any, *, tail: bool, coarse: bool = False) -> tuple[Any, Any, Any, Any]:
    """The integrals over the axis and the ray, each with the logarithm of a further factor; x0 >= 0.

    Args:
        x0: points in S0, at least 0.
        x1: the same points in S1 (any number at alpha = 1).
        alpha: tail index in (0, 2].
        beta: skewness in [-1, 1].
        tail: of P(X > x) rather than of the density.
        coarse: with fewer nodes, to 1e-7.

    Returns:
        a, l, b and m: the result is a exp(l) + b exp(m); l and m are without derivatives.
    """
    law = _law(x0, x1, alpha, beta)
    still: _Law = jax.tree.map(lax.stop_gradient, law)
    form = _FLOAT32 if jnp.result_type(law.x) == jnp.float32 else _COARSE if coarse else _FLOAT64
    saddle, rises, bend = _log_saddle(still)
    tiny = float(jnp.finfo(jnp.result_type(law.x)).tiny)
    cap = jnp.log(_PHASE / jnp.maximum(still.jump, tiny)) / still.alpha
    end = jnp.minimum(jnp.maximum(saddle, math.log(_LEAST)), jnp.minimum(cap, form.largest_log))
    end = end + jnp.zeros_like(still.x)
    low = jnp.minimum(end, -jnp.log1p(jnp.abs(still.x0)) - 2)
    deep = _on_axis(still, end) < -form.nothing
    axis_end = jnp.where(deep, _first(lambda s: _on_axis(still, s) < -form.nothing, low, end, 12), end)
    cut = still.jump > 0
    end = jnp.where(deep & cut, jnp.minimum(end, axis_end + jnp.where(rises, 2.5, 0)), end)
    height = _on_axis(still, end)
    # beyond a power tail's end the ray adds nothing, and is taken elsewhere for its derivatives' sake
    gone = cut & ((deep & ~rises) | (height < -3.5 * form.nothing))
    calm = law._replace(x0=jnp.where(gone, 1, law.x0), x=jnp.where(gone, 1, law.x))
    start = jnp.where(gone, 0, end)
    angle, steep = _angle(jax.tree.map(lax.stop_gradient, calm), start, saddle, rises)
    ray = _ray_part(calm, start, angle, steep, form, tail)
    # Laplace's formula; its derivatives are those of p at a fixed place. The difference is 0 and only its derivative
    # is not: computed twice, p could differ by its rounding, which is of any size here.
    p = _on_axis(law, end)
    flat = jnp.sqrt(_PI / 2 / jnp.where(bend > 0, bend, 1)) * jnp.exp(p - lax.stop_gradient(p))
    flat = jnp.where(saddle > form.largest_log, 0, flat * jnp.exp(-end) if tail else flat)
    ray = jnp.where(~cut & (height < -form.deepest), flat, jnp.where(gone, 0, ray))
    height = jnp.where(gone, -jnp.inf, height)
    axis = _axis_part(law, axis_end, form, tail) / _PI
    return axis, (still.alpha if tail else 1 + still.alpha) * axis_end, ray / _PI, height


def twist(log_t: Any, alpha: Any) -> Any:
    """T (t - t^alpha)/t for t > 0, (2/pi) log t at alpha = 1."""
    excess = alpha - 1
    return 2 / _PI * jnp.cos(_PI / 2 * excess) / _sinc(_PI / 2 * excess) * log_t * _expm1_ratio(excess * log_t)
