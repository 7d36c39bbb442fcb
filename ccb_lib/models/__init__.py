"""The networks of CCB (Figs. 1–3) and of the baselines, and diagnostics of trained networks."""
