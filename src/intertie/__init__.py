"""Intertie: many independent clouds, one network."""

__version__ = "0.2.0"
