"""Time and memory: watching processes, layouts to compare with, inputs, tables."""
