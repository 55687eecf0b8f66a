"""What the app does when things go wrong: bad input, faults, many runs at once."""
