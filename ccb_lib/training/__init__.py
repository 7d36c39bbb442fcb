"""The training loop with its checkpoints, and faster ways to take the same steps."""
