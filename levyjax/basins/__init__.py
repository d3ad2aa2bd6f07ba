"""The region to leave."""

from levyjax.basins.attraction import Attraction
from levyjax.basins.base import Basin
from levyjax.basins.shapes import Ball, Box, Ellipsoid, HalfSpace
from levyjax.basins.sublevel import Sublevel

__all__ = ["Attraction", "Ball", "Basin", "Box", "Ellipsoid", "HalfSpace", "Sublevel"]
