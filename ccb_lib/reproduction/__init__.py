"""The paper's tables: reported numbers, runs, stored results, studies."""
