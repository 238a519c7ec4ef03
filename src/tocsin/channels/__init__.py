"""Ways to speak, one file each: its configuration, a pure `payload`, and `send`. Strangers to each other."""
