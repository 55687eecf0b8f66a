"""Simulated scans compared with real ones."""
