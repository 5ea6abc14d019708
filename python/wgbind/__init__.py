"""A WireGuard server that you install with pip."""
