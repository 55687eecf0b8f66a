"""Benchmarks on simulated traveling subjects, and measurements of time and memory."""
