"""Simulated people and scanners: the source of pairs for training, testing and the demo."""
