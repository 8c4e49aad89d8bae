"""The documents, and what makes their reference pages from the code."""
