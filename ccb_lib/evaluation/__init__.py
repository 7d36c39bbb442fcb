"""Scoring of test sets: protocols, scores after each epoch, the class leak of batch norm."""
