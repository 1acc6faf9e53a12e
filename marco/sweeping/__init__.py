"""Sweeps: what a run of one does, the launcher that runs several at once, the search by Optuna."""
