"""Figures of images, losses, scores, tables, studies and architectures.

Each figure is drawn by one function, which returns it.
"""

from ccb_lib.plots.basics import image_grid, loss_curves, use_style

__all__ = ["image_grid", "loss_curves", "use_style"]
