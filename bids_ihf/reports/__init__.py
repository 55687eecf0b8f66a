"""Participant and group pages: figures, tables, boilerplate."""
