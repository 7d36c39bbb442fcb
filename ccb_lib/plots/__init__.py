"""Figures of images, losses, scores, tables, studies and architectures.

Each figure is drawn by one function, which returns it.
"""

from ccb_lib.plots.basics import draw_generator, image_grid, loss_curves, use_style

__all__ = ["draw_generator", "image_grid", "loss_curves", "use_style"]
