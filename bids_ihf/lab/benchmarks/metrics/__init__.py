"""Metrics of image similarity, overlap, edges, lesions, tissues and explained variance."""
