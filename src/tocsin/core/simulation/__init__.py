"""Time travel over a ledger: replay."""
