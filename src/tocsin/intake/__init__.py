"""Ways to listen, one file per dialect: a pure parse from bytes to alerts. Strangers to each other."""
