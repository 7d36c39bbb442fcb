"""Measurements of `ccb bench`: the time of training steps, scoring and loading."""
