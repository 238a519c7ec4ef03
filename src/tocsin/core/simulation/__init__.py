"""Time travel over a ledger: the state again, and what would have been under another policy."""
