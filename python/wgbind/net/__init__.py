"""Addresses, routes and forwarding of this host: read what is, apply the difference."""
