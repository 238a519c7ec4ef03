"""Tocsin: alerts in, incidents, the right person told, a record that proves itself."""
