"""The training loop, its checkpoints, and experimental faster training steps."""
