"""Every claim as a scripted experiment with a verdict."""

from levyjax.claims.base import Claim, Outcome, Settings
from levyjax.claims.reproduce import CLAIMS, reproduce

__all__ = ["CLAIMS", "Claim", "Outcome", "Settings", "reproduce"]
