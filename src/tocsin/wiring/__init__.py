"""Wiring: the one place that chooses concrete parts and plugs them together."""
