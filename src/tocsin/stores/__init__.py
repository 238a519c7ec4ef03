"""What Tocsin remembers, and where. One protocol (`tocsin.ports.Store`), one contract suite."""
