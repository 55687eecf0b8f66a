"""Scanners and heads that are computed: label maps, protocols, T1w, T2w and diffusion images."""
