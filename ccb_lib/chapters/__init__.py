"""Code that only the pages of the book use: tables, sentences computed from results, helpers."""
