"""When a series of numbers deserves an alert: what a rule asks, how a look at the answers is judged, when the next is."""
