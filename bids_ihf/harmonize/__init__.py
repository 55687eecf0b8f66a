"""One image through the network and back to its own grid."""
