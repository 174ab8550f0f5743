"""Figures about Intertie, each beside a baseline of the same run: `make bench`; see README.md here."""
