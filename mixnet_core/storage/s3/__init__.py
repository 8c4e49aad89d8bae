"""What `s3://` is made of: a service as it turns out to be, sending, and what answers mean."""
