"""Metrics of image similarity, overlap, edges, tissues and scanner readout."""
