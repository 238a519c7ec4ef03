"""Thin routes: each reads a form, asks the node, and shows the answer."""
