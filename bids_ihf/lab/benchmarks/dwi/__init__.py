"""Diffusion between vendors."""
