"""Diffusion: shells, harmonics, profiles, harmonization, FA, and what is written of it."""
