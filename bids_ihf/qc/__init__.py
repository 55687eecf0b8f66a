"""Quality control: measures, flags, out-of-distribution scores, reference ranges."""
