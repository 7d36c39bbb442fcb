"""What steps, scores and loads cost here, measured in one process and in turns; `ccb bench`."""
