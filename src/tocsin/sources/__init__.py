"""Where rules get their numbers. Empty until the Alert Center moves in."""
