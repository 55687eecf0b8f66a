"""The network: squeeze, invertible hierarchy flow, artefact-aware normalization, encoder,
checkpoints."""
