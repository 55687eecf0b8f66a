"""What the benchmarks share: watching processes, layouts to compare with, inputs, tables."""
