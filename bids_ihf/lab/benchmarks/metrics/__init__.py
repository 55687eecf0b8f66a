"""Metrics of overlap, edges, lesions, tissues and explained variance."""
