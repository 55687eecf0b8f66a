"""Whether volumes agree between scanners after harmonization, and real change survives it."""
