"""Whether harmonization keeps the anatomy."""
