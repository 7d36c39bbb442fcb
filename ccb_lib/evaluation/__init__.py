"""How a test set is scored: protocols, the scores of each epoch, the batch-norm leak."""
