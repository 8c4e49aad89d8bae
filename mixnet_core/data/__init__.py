"""Images: their sources, their splits, and their way to the network."""
