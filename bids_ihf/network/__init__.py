"""The IHF network, its encoder, the segmentation U-Net and their checkpoints (torch only)."""
