"""What only the book's pages use: tables, sentences computed from results, helpers."""
