"""A server's life: what should be, made so, and kept so."""
