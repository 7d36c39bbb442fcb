"""Figures, each drawn by one function that returns it: images, losses, scores, tables, studies, architectures."""

from ccb_lib.plots.basics import draw_generator, image_grid, loss_curves, use_style

__all__ = ["draw_generator", "image_grid", "loss_curves", "use_style"]
