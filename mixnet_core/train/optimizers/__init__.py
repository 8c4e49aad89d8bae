"""What moves the weights: one file for each optimizer.name; see `train.optimizer_kind`."""
