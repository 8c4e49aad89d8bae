"""A prefix of a store as a folder of this machine, fetched once and kept in the user's cache."""
