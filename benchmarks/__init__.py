"""How fast Tocsin is beside its peer, on this machine: `python -m benchmarks`. See docs/benchmarks.md."""
