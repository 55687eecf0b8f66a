"""Training of the network, its encoder and the segmentation U-Net."""
