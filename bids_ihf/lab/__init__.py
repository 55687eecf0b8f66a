"""The laboratory: simulation, training, comparators and benchmarks.

No part of the product imports it; only ``ihf`` loads its commands when they are called.
"""
