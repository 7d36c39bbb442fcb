"""The paper's tables: reported numbers, runs, stored results and studies."""
