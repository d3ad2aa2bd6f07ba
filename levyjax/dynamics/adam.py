"""Adam and AdamW, as the algorithm and as four SDEs."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from levyjax.arrays import column, concrete, freeze, parameter, pytree
from levyjax.checks import choice, not_negative, part, plain, positive, refuse, sweep, vector
from levyjax.dynamics.base import DrivingNoise, Dynamics
from levyjax.dynamics.squares import GRADIENT_NOISE, jump_maps_of, squared_gradient
from levyjax.keys import key, piece
from levyjax.noise import Noise
from levyjax.noise.base import second_moment

_VARIANT = choice(("paper", "corrected", "frozen", "malladi"))


class AdamState(NamedTuple):
    """Where Adam stands: the point and the two averages, each (d, *batch)."""

    x: Float[Array, "d *batch"]
    m: Float[Array, "d *batch"]
    v: Float[Array, "d *batch"]


@piece("dynamics", "adamw", weight_decay=1e-4)
@piece("dynamics", "adam", without=("weight_decay",))
@pytree
class Adam(Dynamics):
    """Adam, the algorithm (`iterate`) and its Lévy-driven SDE (`sde_step`) in one of four variants.

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
        "malladi": the rates of "corrected", but the noise enters m and from there x:
            dm = b1 (g - m) dt - b1 epsilon A dL;  dv = b2 (2 diag(A A') - v) dt;  dx = -mu_t Q^-1 m dt.
            2 A A' is the covariance of A u at alpha = 2, where u is N(0, 2): v's mean in the iteration. A jump moves x
            by epsilon Q^-1 A y in all on a flat landscape, over a time of 1/b1. Derived for noise like Gaussian that
            dominates the gradient; with jumps v should see them too, and does not (as in the other variants): it is
            no model of the iteration under heavy tails.
    weight_decay w adds -eta w x to each step, so -w x dt to dx: AdamW. It pulls to 0, wherever the minimum is.
    s, the squared mini-batch gradient that v sees, has to be chosen on a landscape without mini-batches:
        "frozen": g^2 + diag(A A'); "gaussian" and "stable": (g + A u)^2, u drawn anew each eta of time, standard
        normal or of the noise's own law, independent of L. At alpha = 2 that law is N(0, 2), so that "stable" has the
        mean of the iteration's v and the other two have half of its noise part.
    m and v are advanced by their exact exponential flow with g held over the step, so any dt is stable; step n uses
    mu and omega at t = (n + 1) dt.

    Args:
        learning_rate: eta; needed by the iteration, by variants "corrected" and "malladi" and by a random s.
        beta1, beta2: in [0, 1).
        epsilon: epsilon0, not negative.
        variant: "paper", "corrected", "frozen" or "malladi": the rates of m and v, and what the noise enters.
        gradient_noise: s, which v averages: "frozen", "gaussian" or "stable"; with variant "malladi" "frozen" only.
        preconditioner: (d,), positive; for the frozen variant only.
        weight_decay: w, not negative: each step also takes eta w x off x, as in optax.adamw (there, and for "adamw" in
            a run file, 1e-4 by default).
        initial_m, initial_v: (d,), where m and v start; default 0, which mu and omega make up for. One that is given
            counts as the average's mean, as long after the start, and is not corrected. v is not negative.

    Raises:
        ValueError: an argument out of its range, or one that the variant needs and has not got.

    Source:
        Kingma and Ba 2015; Loshchilov and Hutter 2019 (weight decay); Zhou et al. 2020, equation 5. "malladi": Malladi
        et al. 2022, definition 4.4 and theorem 4.5. With c_i = (1 - beta_i)/eta^2 and gamma_i = 1 - exp(-c_i t) at time
        t = eta^2 k: dm = c1 (g - m) dt + sigma0 c1 Sigma^(1/2) dW, du = c2 (diag(Sigma) - u) dt,
        dx = -(sqrt(gamma2)/gamma1) P^-1 m dt, P = sigma0 sqrt(u) + epsilon0 sqrt(gamma2). Here time is eta k, so
        b_i = eta c_i; v = sigma^2 u with 2 A A' for sigma^2 Sigma, sqrt(gamma2)/(gamma1 P) is mu_t/Q, and epsilon A dL,
        of covariance 2 epsilon^2 A A' dt, is sigma0 Sigma^(1/2) dW at epsilon = `noise.sde_noise_level`(2, eta) for an
        iteration of noise level 1. Their limit: eta to 0 with c_i and eta A fixed, over eta^2 of their time a step.

    Example:
        >>> Adam(0.01, variant="corrected").rates()
        (np.float64(9.999999999999998), np.float64(0.10000000000000009))
    """

    learning_rate: Any = key(positive, default=None, swept=sweep(positive))
    beta1: Any = key(part, default=0.9)
    beta2: Any = key(part, default=0.999)
    epsilon: Any = key(not_negative, default=1e-8)
    preconditioner: Any = key(vector(positive), default=None, coordinates=0)
    variant: str = key(_VARIANT, default="paper", static=True)
    gradient_noise: str = key(GRADIENT_NOISE, default="frozen", static=True)
    weight_decay: Any = key(not_negative, default=0.0)
    initial_m: Any = None
    initial_v: Any = None

    _cap = "m and v cap"

    def __post_init__(self) -> None:
        for name in ("initial_m", "initial_v"):
            if getattr(self, name) is not None:
                freeze(self, **{name: parameter(getattr(self, name), name, ndim=(1,))})
        if self.initial_v is not None and concrete(self.initial_v) and np.any(np.asarray(self.initial_v) < 0):
            raise ValueError("initial_v, a mean of squares, must not be negative.")
        if self.variant == "malladi" and self.gradient_noise != "frozen":
            raise refuse(self.gradient_noise, "gradient_noise", '"frozen" with variant = "malladi"')
        if self.variant == "frozen" and self.preconditioner is None:
            raise ValueError(
                'variant = "frozen" needs preconditioner, the diagonal of Q. '
                "Add for example preconditioner = [1.0, 0.5], one number above 0 for each coordinate."
            )
        if self.variant != "frozen" and self.preconditioner is not None:
            raise refuse(plain(self.preconditioner), "preconditioner", 'it with variant = "frozen" only')
        if self.learning_rate is None and (reason := self.uses_learning_rate()) is not None:
            raise ValueError(f"learning_rate is missing: {reason} uses it. Add for example learning_rate = 0.1.")

    def uses_learning_rate(self) -> str | None:
        if self._in_steps:
            return f'variant = "{self.variant}"'
        return None if self.gradient_noise == "frozen" else f'gradient_noise = "{self.gradient_noise}"'

    def why_no_sde(self) -> str | None:
        rates = {"paper": ("beta1", "beta2"), "frozen": ("beta1",)}.get(self.variant, ())
        for name in rates:
            value = getattr(self, name)
            if concrete(value) and float(value) == 0:
                return (
                    f'{name} = 0.0 is a rate in variant = "{self.variant}", and the mean it drives would never move '
                    '(give a number above 0, or variant = "corrected")'
                )
        return super().why_no_sde()

    @property
    def _in_steps(self) -> bool:
        """Whether the averages' rates are those of the iteration's steps."""
        return self.variant in ("corrected", "malladi")

    def momentum_rate(self) -> Any:
        return self.rates()[0] if self.variant == "malladi" else None

    def rates(self) -> tuple[Any, Any]:
        """b1 and b2, per unit of the SDE's time."""
        if self._in_steps:
            return (1 - self.beta1) / self.learning_rate, (1 - self.beta2) / self.learning_rate
        return self.beta1, self.beta2

    def init(self, x: Float[Array, "d *batch"]) -> AdamState:
        m, v = (0 if given is None else column(given, x) for given in (self.initial_m, self.initial_v))
        return AdamState(x, jnp.zeros_like(x) + m, jnp.zeros_like(x) + v)

    def sde_step(self, state: AdamState, gradient: Array, driving: DrivingNoise) -> AdamState:
        b1, b2 = self.rates()
        time = (_steps(driving, state.x.dtype) + 1) * driving.dt
        mu = -1 / jnp.expm1(-b1 * time) if self.initial_m is None else 1
        omega = -1 / jnp.expm1(-b2 * time) if self.initial_v is None else 1
        jump = driving.increment()
        m = state.m - jnp.expm1(-b1 * driving.dt) * (gradient - state.m)
        if self.noise_in_momentum:
            m = m - b1 * jump
        v = state.v
        if self.variant != "frozen":
            v = v - jnp.expm1(-b2 * driving.dt) * (self._squared_gradient(gradient, driving) - v)
        inverse_q = self._inverse_q(state._replace(v=v), omega)
        moved = state.x - (mu * inverse_q * m + self.weight_decay * state.x) * driving.dt
        return AdamState(moved if self.noise_in_momentum else moved + inverse_q * jump, m, v)

    def iterate(self, state: AdamState, gradient: Array, driving: DrivingNoise) -> AdamState:
        noisy_gradient = gradient + driving.draw()
        count = _steps(driving, state.x.dtype) + 1
        m = self.beta1 * state.m + (1 - self.beta1) * noisy_gradient
        v = self.beta2 * state.v + (1 - self.beta2) * noisy_gradient**2
        m_hat = m / (1 - self.beta1**count) if self.initial_m is None else m
        v_hat = v / (1 - self.beta2**count) if self.initial_v is None else v
        update = m_hat / (jnp.sqrt(v_hat) + self.epsilon) + self.weight_decay * state.x
        return AdamState(state.x - self.learning_rate * update, m, v)

    def _noise_square(self, noise: Noise) -> Array:
        """What the noise adds to v at rest, (d,)."""
        return (2 if self.noise_in_momentum else 1) * jnp.asarray(second_moment(noise))

    def _squared_gradient(self, gradient: Array, driving: DrivingNoise) -> Array:
        """s: what the SDE's v averages."""
        if self.noise_in_momentum:
            return jnp.zeros_like(gradient) + column(self._noise_square(driving.noise), gradient)
        return squared_gradient(gradient, driving, self.gradient_noise, self.learning_rate)

    def rest(self, x: Float[Array, "d *batch"], noise: Noise) -> AdamState:
        return AdamState(x, jnp.zeros_like(x), jnp.zeros_like(x) + column(self._noise_square(noise), x))

    def drift(self, state: AdamState, gradient: Array, noise: Noise) -> AdamState:
        b1, b2 = self.rates()
        seen = 0 if self.variant == "frozen" or self.noise_in_momentum else gradient**2
        squared = column(self._noise_square(noise), gradient) + seen
        velocity = -self._inverse_q(state) * state.m - self.weight_decay * state.x
        return AdamState(velocity, b1 * (gradient - state.m), b2 * (squared - state.v))

    def displace(self, state: AdamState, amount: Array) -> AdamState:
        if self.noise_in_momentum:
            return state._replace(m=state.m - self.rates()[0] * amount)
        return state._replace(x=state.x + self._inverse_q(state) * amount)

    def why_no_rate(self, of_iteration: bool, minimum: Float[np.ndarray, " d"]) -> str | None:
        reason = super().why_no_rate(of_iteration, minimum)
        if reason is None and float(self.weight_decay) > 0 and np.any(np.asarray(minimum) != 0):
            return (
                "weight_decay pulls to the origin, so with this minimum the optimizer rests elsewhere, where no rate "
                "is worked out; put the minimum at 0 or take the decay out."
            )
        return reason

    def paper_rates(self) -> tuple[Any, Any] | None:
        return None if self._in_steps else (self.beta1, self.beta2)

    def _inverse_q(self, state: AdamState, omega: Any = 1) -> Array:
        """1/Q, (d, *batch)."""
        if self.variant == "frozen":
            return column(1 / self.preconditioner, state.x)
        return 1 / (jnp.sqrt(omega * state.v) + self.epsilon)

    def with_jump_map(self, state: Any, maps: Any) -> Any:
        return state._replace(v=(1 / maps - float(self.epsilon)) ** 2)

    def jump_maps(self, noise: Noise) -> Float[Array, "samples d"]:
        """1/Q at the minimum; where the gradient noise is random, samples of it from the stationary law of v."""
        if self.variant == "frozen":
            return (1 / jnp.asarray(self.preconditioner))[None]
        if self.noise_in_momentum:
            return (1 / (jnp.sqrt(self._noise_square(noise)) + self.epsilon))[None]
        return jump_maps_of(noise, self.epsilon, self.gradient_noise, self.learning_rate, self.rates()[1])


def _steps(driving: DrivingNoise, dtype: np.dtype) -> Array:
    """How many steps came before this one, as a float (exact to 2^24; the corrections have long died out there)."""
    return driving.counter.low.astype(dtype) + driving.counter.high.astype(dtype) * 2.0**32
