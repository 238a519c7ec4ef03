"""The record that proves itself: canonical bytes, the Merkle tree over them, verification."""
