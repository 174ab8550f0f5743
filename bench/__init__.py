"""Figures about Intertie, each beside a baseline of the same run. `python -m bench` or `make bench`; see README.md."""
