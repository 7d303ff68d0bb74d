"""Seals: Merkle trees over the log, signed checkpoints of them, and the proof that nothing has changed."""
