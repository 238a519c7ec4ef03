"""The nouns: what Tocsin talks about. Frozen values; instants are integer microseconds UTC."""
