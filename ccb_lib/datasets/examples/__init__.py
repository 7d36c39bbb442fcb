"""Small example data sets that chapters and tests write to disk."""
