"""Drives the core: the only loops, and the one clock."""
