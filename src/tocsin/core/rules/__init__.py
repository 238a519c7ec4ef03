"""When a series of numbers deserves an alert: what a rule asks, how the answers are judged, when it looks again."""
