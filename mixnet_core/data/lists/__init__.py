"""CSV lists of images: from bytes to rows, from rows to files and labels."""
