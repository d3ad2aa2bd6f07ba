"""Figures that belong to one claim or a few; drawn as those of `levyjax.plots` are."""
