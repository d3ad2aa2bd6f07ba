"""Adam, as the algorithm and as three SDEs."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from levyjax.arrays import apply, cast, column, concrete, freeze, parameter, positive, pytree, static
from levyjax.dynamics.base import Kick
from levyjax.dynamics.sgd import checked_learning_rate
from levyjax.noise import Noise, second_moment
from levyjax.random import Counter, Stream
from levyjax.stable import draw_words, normal

_NUM_SAMPLES = 1 << 13
_FORGET = 14  # e-foldings after which v has forgotten its start
_MAX_DRAWS = 20_000

VARIANTS = ("paper", "corrected", "frozen")
GRADIENT_NOISES = ("frozen", "gaussian", "stable")


class AdamState(NamedTuple):
    """Where Adam stands: the point and the two averages, each (d, *batch)."""

    x: Float[Array, "d *batch"]
    m: Float[Array, "d *batch"]
    v: Float[Array, "d *batch"]


@pytree
class Adam:
    """Adam, the algorithm (`iterate`) and its Lévy-driven SDE (`sde_step`) in one of three variants.

    Iteration, with the noisy gradient g~ = g + epsilon A u and t = 1, 2, ...:
        m <- beta1 m + (1 - beta1) g~;  v <- beta2 v + (1 - beta2) g~^2;
        x <- x - eta (m/(1 - beta1^t))/(sqrt(v/(1 - beta2^t)) + epsilon0).
    SDE, where the noise enters x and m sees the full gradient:
        dm = b1 (g - m) dt;  dv = b2 (s - v) dt;  Q = diag(sqrt(omega_t v) + epsilon0);
        dx = -mu_t Q^-1 m dt + epsilon Q^-1 A dL;  mu_t = 1/(1 - exp(-b1 t)), omega_t = 1/(1 - exp(-b2 t)).
    variant:
        "paper": b1 = beta1, b2 = beta2, to the letter of Zhou et al. (give scale = Sigma to follow them in that too).
        "corrected": b1 = (1 - beta1)/eta, b2 = (1 - beta2)/eta, the rates that t = eta k gives (scale = Sigma^(1/2)).
        "frozen": b1 = beta1 and Q = diag(preconditioner) for ever.
    s, the squared mini-batch gradient that v sees, has to be chosen on a landscape without mini-batches:
        "frozen": g^2 + diag(A A'); "gaussian" and "stable": (g + A u)^2, u drawn anew each eta of time, standard
        normal or of the noise's own law, independent of L.
    m and v are advanced by their exact exponential flow with g held over the step, so any dt is stable; step n uses
    mu and omega at t = (n + 1) dt.

    Args:
        learning_rate: eta; needed by the iteration, the corrected variant and a random s.
        beta1, beta2: in [0, 1).
        epsilon: epsilon0, not negative.
        variant, gradient_noise: as above.
        preconditioner: (d,), positive; for the frozen variant only.

    Raises:
        ValueError: an argument out of its range, or one that the variant needs and has not got.

    Source:
        Kingma and Ba 2015; Zhou et al. 2020, equation 5.

    Example:
        >>> Adam(0.01, variant="corrected").rates()
        (np.float64(9.999999999999998), np.float64(0.10000000000000009))
    """

    learning_rate: Any = None
    beta1: Any = 0.9
    beta2: Any = 0.999
    epsilon: Any = 1e-8
    preconditioner: Any = None
    variant: str = static(default="paper")
    gradient_noise: str = static(default="frozen")

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, got {self.variant!r}.")
        if self.gradient_noise not in GRADIENT_NOISES:
            raise ValueError(
                f"gradient_noise must be one of {', '.join(GRADIENT_NOISES)}, got {self.gradient_noise!r}."
            )
        if (self.variant == "frozen") != (self.preconditioner is not None):
            raise ValueError("preconditioner goes with variant = 'frozen', and only with it.")
        if self.learning_rate is None and (self.variant == "corrected" or self.gradient_noise != "frozen"):
            raise ValueError("variant = 'corrected' and a random gradient_noise need a learning_rate.")
        beta1, beta2 = parameter(self.beta1, "beta1", ndim=(0,)), parameter(self.beta2, "beta2", ndim=(0,))
        for name, beta in (("beta1", beta1), ("beta2", beta2)):
            if concrete(beta) and not 0 <= float(beta) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {float(beta)}.")
        epsilon = parameter(self.epsilon, "epsilon", ndim=(0,))
        if concrete(epsilon) and float(epsilon) < 0:
            raise ValueError(f"epsilon must not be negative, got {float(epsilon)}.")
        preconditioner = self.preconditioner
        if preconditioner is not None:
            preconditioner = positive(parameter(preconditioner, "preconditioner", ndim=(1,)), "preconditioner")
        learning_rate = checked_learning_rate(self.learning_rate)
        freeze(self, learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)
        freeze(self, preconditioner=preconditioner)

    def rates(self) -> tuple[Any, Any]:
        """b1 and b2, per unit of the SDE's time."""
        if self.variant == "corrected":
            return (1 - self.beta1) / self.learning_rate, (1 - self.beta2) / self.learning_rate
        return self.beta1, self.beta2

    def init(self, x: Float[Array, "d *batch"]) -> AdamState:
        return AdamState(x, jnp.zeros_like(x), jnp.zeros_like(x))

    def sde_step(self, state: AdamState, gradient: Array, kick: Kick) -> AdamState:
        b1, b2 = self.rates()
        time = (_steps(kick, state.x.dtype) + 1) * kick.dt
        mu, omega = -1 / jnp.expm1(-b1 * time), -1 / jnp.expm1(-b2 * time)
        m = state.m - jnp.expm1(-b1 * kick.dt) * (gradient - state.m)
        v = state.v
        if self.variant != "frozen":
            v = v - jnp.expm1(-b2 * kick.dt) * (self._squared_gradient(gradient, kick) - v)
        inverse_q = self._inverse_q(state._replace(v=v), omega)
        moved = state.x - mu * inverse_q * m * kick.dt
        jump = inverse_q * kick.noise_level * kick.noise.increment(kick.counter, kick.dt)
        return AdamState(moved + jump, m, v)

    def iterate(self, state: AdamState, gradient: Array, kick: Kick) -> AdamState:
        noisy_gradient = gradient + kick.noise_level * kick.noise.increment(kick.counter, 1.0)
        count = _steps(kick, state.x.dtype) + 1
        m = self.beta1 * state.m + (1 - self.beta1) * noisy_gradient
        v = self.beta2 * state.v + (1 - self.beta2) * noisy_gradient**2
        m_hat = m / (1 - self.beta1**count)
        v_hat = v / (1 - self.beta2**count)
        return AdamState(state.x - self.learning_rate * m_hat / (jnp.sqrt(v_hat) + self.epsilon), m, v)

    def _squared_gradient(self, gradient: Array, kick: Kick) -> Array:
        """s: what the SDE's v averages."""
        if self.gradient_noise == "frozen":
            return gradient**2 + column(second_moment(kick.noise), gradient)
        every = jnp.maximum(jnp.round(self.learning_rate / kick.dt), 1).astype(jnp.uint32)
        counter = kick.counter._replace(low=kick.counter.low // every)
        if self.gradient_noise == "gaussian":
            scale = kick.noise.scale
            noise = apply(scale, normal(draw_words(counter, scale.shape[-1], Stream.GRADIENT, scale.dtype)))
        else:
            noise = kick.noise.increment(counter, 1.0, Stream.GRADIENT)
        return (gradient + noise) ** 2

    def rest(self, x: Float[Array, "d *batch"], noise: Noise) -> AdamState:
        return AdamState(x, jnp.zeros_like(x), jnp.zeros_like(x) + column(second_moment(noise), x))

    def drift(self, state: AdamState, gradient: Array, noise: Noise) -> AdamState:
        b1, b2 = self.rates()
        squared = column(second_moment(noise), gradient) + (0 if self.variant == "frozen" else gradient**2)
        return AdamState(-self._inverse_q(state) * state.m, b1 * (gradient - state.m), b2 * (squared - state.v))

    def displace(self, state: AdamState, amount: Array) -> AdamState:
        return state._replace(x=state.x + self._inverse_q(state) * amount)

    def thrown(self, x: Float[Array, "d *batch"], jump: Array, noise: Noise) -> AdamState:
        return self.rest(x + jump, noise)

    def _inverse_q(self, state: AdamState, omega: Any = 1) -> Array:
        """1/Q, (d, *batch)."""
        if self.variant == "frozen":
            return column(1 / self.preconditioner, state.x)
        return 1 / (jnp.sqrt(omega * state.v) + self.epsilon)

    def jump_maps(self, noise: Noise) -> Float[Array, "samples d"]:
        """1/Q at the minimum; where the gradient noise is random, samples of it from the stationary law of v."""
        if self.variant == "frozen":
            return (1 / jnp.asarray(self.preconditioner))[None]
        if self.gradient_noise == "frozen":
            return (1 / (jnp.sqrt(jnp.asarray(second_moment(noise))) + self.epsilon))[None]
        v = self._stationary_v(noise).astype(jnp.asarray(self.epsilon).dtype)
        return (1 / (jnp.sqrt(v) + self.epsilon)).T

    def _stationary_v(self, noise: Noise) -> Float[Array, "d samples"]:
        """Samples of v at the minimum: it averages (A u)^2 over learning_rates of time, seen at a uniform phase."""
        memory = float(self.rates()[1]) * float(self.learning_rate)
        num_draws = min(math.ceil(_FORGET / memory), _MAX_DRAWS)
        v, last = _average_squares(cast(self, jnp.float32), cast(noise, jnp.float32), math.exp(-memory), num_draws)
        phase = (jnp.arange(_NUM_SAMPLES, dtype=v.dtype) + 0.5) / _NUM_SAMPLES
        since = jnp.exp(-memory * phase)
        return since * v + (1 - since) * last


@jax.jit
def _average_squares(dynamics: Adam, noise: Noise, kept: Any, num_draws: Any) -> tuple[Array, Array]:
    """v just before a draw of (A u)^2, and that draw, for each of the samples; in float32, as only a mean is wanted."""
    words = jnp.arange(_NUM_SAMPLES, dtype=jnp.uint32)
    zero = jnp.zeros_like(words)
    at_minimum = jnp.zeros((noise.scale.shape[0], 1), jnp.float32)

    def draw(step: Any) -> Array:
        counter = Counter(words, zero, jnp.full_like(words, step), zero)
        return dynamics._squared_gradient(at_minimum, Kick(noise, 1.0, counter, dynamics.learning_rate))

    kept = jnp.asarray(kept, jnp.float32)
    v = jax.lax.fori_loop(1, num_draws, lambda step, v: kept * v + (1 - kept) * draw(step), draw(0))
    return v, draw(num_draws)


def _steps(kick: Kick, dtype: np.dtype) -> Array:
    """How many steps came before this one, as a float (exact to 2^24; the corrections have long died out there)."""
    return kick.counter.low.astype(dtype) + kick.counter.high.astype(dtype) * 2.0**32
