"""What there is several of is found by name: one kind of thing a folder, one of them a file."""
