"""What the sections start as processes of their own, and what each is given (`requests`)."""
