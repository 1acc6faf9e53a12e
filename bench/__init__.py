"""Measurements, ours and a peer's side by side: `python -m bench.<name>`; never in the tests."""
