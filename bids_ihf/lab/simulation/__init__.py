"""Virtual subjects, scanners and protocols, and the T1w, T2w and diffusion images they give."""
