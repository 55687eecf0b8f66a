"""Time and memory of processes, stages and network layouts."""
