"""One stable law with SciPy's method names: NumPy in, double precision out."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from levyjax.stable import law, mode, moments, quantiles
from levyjax.stable.fit import fit
from levyjax.stable.kernel import check_parameters, unit_shift
from levyjax.stable.sampling import sample


@dataclasses.dataclass(frozen=True)
class Stable:
    """A stable law, as `scipy.stats` has frozen ones: its methods take and give NumPy arrays in double precision.

    SciPy's functions of a distribution take its methods, `scipy.stats.kstest(data, law.cdf)`, or the law itself,
    `scipy.stats.probplot(data, dist=law)`. The functions of `levyjax.stable` do the same within JAX, for arrays of
    parameters.

    Args:
        alpha: tail index in (0, 2].
        beta: skewness in [-1, 1].
        loc: location.
        scale: sigma > 0 in exp(-|sigma u|^alpha).
        parametrization: "S0" (continuous in alpha; SciPy's default is the other) or "S1"; see `levyjax.stable.law`.

    Raises:
        ValueError: a parameter is out of range or no number.

    Example:
        >>> cauchy = Stable(1.0)
        >>> cauchy.cdf(1.0).round(12), cauchy.ppf([0.25, 0.75]).round(12), cauchy.var()
        (np.float64(0.75), array([-1.,  1.]), inf)
    """

    alpha: float
    beta: float = 0.0
    loc: float = 0.0
    scale: float = 1.0
    parametrization: str = "S0"

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "loc", "scale"):
            value = np.asarray(getattr(self, name))
            if value.ndim or value.dtype.kind not in "fiu" or not np.isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {getattr(self, name)!r}.")
            object.__setattr__(self, name, float(value))
        check_parameters(self.alpha, self.beta, self.scale, self.parametrization)

    @classmethod
    def fit(
        cls,
        data: Any,
        *,
        alpha: Any = None,
        beta: Any = None,
        loc: Any = None,
        scale: Any = None,
        parametrization: str = "S0",
    ) -> "Stable":
        """The law of the largest likelihood, numbers that are given held; `stable.fit` has its intervals.

        Raises:
            ValueError: as `stable.fit`, or it did not converge.
        """
        held = {"alpha": alpha, "beta": beta, "loc": loc, "scale": scale}
        found = fit(np.asarray(data, np.float64), **held, parametrization=parametrization)
        if np.ndim(found.alpha):
            raise ValueError(f"data must be one sample (n,), got shape {np.shape(data)}.")
        if not found.converged:
            raise ValueError("The likelihood has no maximum that was found: look at stable.fit(data).")
        alpha, beta, loc, scale = (float(part) for part in (found.alpha, found.beta, found.loc, found.scale))
        return cls(alpha, beta, loc, scale, parametrization)

    def _of(self, function: Callable[..., Any], x: Any) -> Any:
        with jax.enable_x64(True):
            found = function(
                np.asarray(x, np.float64),
                np.float64(self.alpha),
                self.beta,
                loc=self.loc,
                scale=self.scale,
                parametrization=self.parametrization,
            )
            return np.asarray(found)[()]

    def _from_s0(self) -> float:
        """How far the standard law in S1 is to the right of that in S0."""
        with jax.enable_x64(True):
            return float(unit_shift(*(jnp.asarray(value) for value in (self.alpha, self.beta, self.scale))))

    def pdf(self, x: Any) -> Any:
        """Density."""
        return self._of(law.pdf, x)

    def logpdf(self, x: Any) -> Any:
        """Logarithm of the density."""
        return self._of(law.logpdf, x)

    def cdf(self, x: Any) -> Any:
        """P(X <= x)."""
        return self._of(law.cdf, x)

    def logcdf(self, x: Any) -> Any:
        """log P(X <= x)."""
        return self._of(law.logcdf, x)

    def sf(self, x: Any) -> Any:
        """P(X > x)."""
        return self._of(law.sf, x)

    def logsf(self, x: Any) -> Any:
        """log P(X > x)."""
        return self._of(law.logsf, x)

    def ppf(self, q: Any) -> Any:
        """The x with P(X <= x) = q."""
        return self._of(quantiles.ppf, q)

    def isf(self, q: Any) -> Any:
        """The x with P(X > x) = q."""
        return self._of(quantiles.isf, q)

    def rvs(self, size: Any = 1, random_state: Any = None) -> Any:
        """Variates of this size; a number for size 1, as SciPy gives.

        Args:
            size: a number or a shape.
            random_state: None, a seed, or NumPy's `Generator` or `RandomState`, which is advanced.
        """
        if isinstance(random_state, np.random.RandomState):
            seed = int(random_state.randint(2**31))
        else:
            seed = int(np.random.default_rng(random_state).integers(2**31))
        shape = tuple(np.atleast_1d(size).tolist()) if size is not None else ()
        with jax.enable_x64(True):
            z = np.asarray(sample(seed, self.alpha, shape, jnp.float64, beta=self.beta))
        found = self.loc + self.scale * (z + (self._from_s0() if self.parametrization == "S1" else 0.0))
        return found[0] if shape == (1,) and np.ndim(size) == 0 else found[()]

    def median(self) -> float:
        """The x with P(X <= x) = 1/2."""
        return float(self.ppf(0.5))

    def mode(self) -> float:
        """The point of the largest density."""
        return float(self._of(lambda _, *args, **kwargs: mode.mode(*args, **kwargs), 0.0))

    def interval(self, confidence: Any) -> tuple[Any, Any]:
        """Ends with as much probability beyond each, and this much between them."""
        beyond = (1 - np.asarray(confidence, np.float64)) / 2
        return self.ppf(beyond), self.isf(beyond)

    def support(self) -> tuple[float, float]:
        """The ends of the support."""
        return float(self.ppf(0.0)), float(self.ppf(1.0))

    def mean(self) -> float:
        """The mean; NaN where there is none (alpha <= 1), an infinity on one side alone."""
        if self.alpha <= 1:
            return float(np.copysign(np.inf, self.beta)) if abs(self.beta) == 1 and self.alpha < 1 else float("nan")
        return self.loc if self.parametrization == "S1" else self.loc - self.scale * self._from_s0()

    def var(self) -> float:
        """The variance: infinite, or 2 scale^2 at alpha = 2."""
        return 2 * self.scale**2 if self.alpha == 2 else float("inf")

    def std(self) -> float:
        """The standard deviation: infinite, or sqrt(2) scale at alpha = 2."""
        return float(np.sqrt(self.var()))

    def entropy(self) -> float:
        """Differential entropy in nats."""
        with jax.enable_x64(True):
            return float(moments.entropy(self.alpha, self.beta, scale=self.scale))
