"""Images that are made for measuring, as much like the real ones as the figures need."""
