"""Ways out of a well at small Brownian noise, and the rates that they have together."""

import dataclasses
import math

import numpy as np

_SECOND_ORDER = 4.0  # times the square of the terms of the first order: what is left, at most, in random problems


class NotKnown(Exception):
    """Why the law does not apply, in a sentence."""


@dataclasses.dataclass(frozen=True)
class Way:
    """A way out at small Brownian noise: across a saddle, or where F is least on the boundary.

    Attributes:
        point: where, (d,).
        face: the index of the face that it leads through.
        height: F there less F at the minimum.
        factor: the rate over exp(-height/D), of a wall times sqrt(D).
        next_order: the rate is 1 + next_order D of that.
        size: of the terms that next_order is the sum of.
        slope: of F across the wall; nan for a saddle.
        room: from a saddle to the wall over sqrt(2/growth rate); nan for a wall.
        room_scale: what a way is multiplied by for that.
        half_order: of a saddle on the boundary, what multiplies sqrt(D), about.
        second_order: of a wall, what multiplies D^2 besides the square of size, about.
        curved: of a wall that is not flat, the size of what multiplies D and is not in next_order, about.
    """

    point: np.ndarray
    face: int
    height: float
    factor: float
    next_order: float
    size: float
    slope: float = math.nan
    room: float = math.nan
    room_scale: float = 0.0
    half_order: float = 0.0
    second_order: float = 0.0
    curved: float = 0.0

    def rate(self, diffusion: float, beyond: float) -> float:
        """Exits per unit of time without next_order, with the boundary so much further out."""
        if math.isnan(self.room):
            return self.factor / math.sqrt(diffusion) * math.exp(-(self.height + self.slope * beyond) / diffusion)
        crossed = 2 / (1 + math.erf((self.room + beyond * self.room_scale) / math.sqrt(diffusion)))
        return crossed * self.factor * math.exp(-self.height / diffusion)

    def unsure(self, diffusion: float) -> float:
        """By what part it is another than this, about."""
        if math.isnan(self.room):
            return self.curved * diffusion + self.second_order * diffusion**2
        near = math.exp(-(self.room**2) / diffusion)  # the wall is at the saddle
        return near * (self.half_order * math.sqrt(diffusion) + self.size * diffusion)


@dataclasses.dataclass(frozen=True)
class Ways:
    """All ways out, a of the minimum, the size of its terms, and D for a noise level of 1.

    Attributes:
        ways: out of the basin.
        inside: across saddles to where paths stay inside, in another well.
        edges: heights of least points of the boundary without a formula: on its edges, or not isolated.
    """

    ways: tuple[Way, ...]
    inside: tuple[Way, ...]
    edges: tuple[float, ...]
    anharmonic: float
    size: float
    unit_diffusion: float

    def rates(self, noise_level: float, beyond: float = 0.0) -> np.ndarray:
        """Of each way, to the first order in D."""
        diffusion = self.unit_diffusion * noise_level**2
        first = [
            way.rate(diffusion, beyond) * math.exp(min(max(way.next_order * diffusion, -1.0), 1.0)) for way in self.ways
        ]
        return np.array(first) * math.exp(-self.anharmonic * diffusion)

    def elsewhere(self, noise_level: float) -> float:
        """How much sooner other wells inside are reached than the outside, as a ratio of rates."""
        diffusion = self.unit_diffusion * noise_level**2
        out = sum(way.rate(diffusion, 0.0) for way in self.ways)
        return sum(way.rate(diffusion, 0.0) for way in self.inside) / out if out > 0 else math.inf

    def bias(self, noise_level: float) -> float:
        """By what part the rate is another one, about: the square of the terms of the first order."""
        diffusion, rates = self.unit_diffusion * noise_level**2, self.rates(noise_level)
        sizes = np.array([way.size + self.size for way in self.ways]) * diffusion
        unsure = np.array([way.unsure(diffusion) for way in self.ways])
        with np.errstate(over="ignore"):
            edges = np.exp((min(way.height for way in self.ways) - np.array(self.edges)) / diffusion).sum()
        return float((_SECOND_ORDER * sizes**2 + unsure) @ rates / rates.sum() + edges)
