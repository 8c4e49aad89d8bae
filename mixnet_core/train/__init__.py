"""Training: what every rank runs."""
