"""Brain masks and registration."""
