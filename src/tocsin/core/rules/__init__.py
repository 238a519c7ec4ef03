"""When a series of numbers deserves an alert. Empty until the Alert Center moves in."""
