"""The verbs: how Tocsin decides. Read `step` first."""
