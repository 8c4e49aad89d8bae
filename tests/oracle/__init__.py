"""Networks that others trained, as judges of what ours is fed: `make oracle`."""
