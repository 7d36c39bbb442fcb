"""What readers see of stored files: tables with gaps named, sentences that are computed, explorers."""
