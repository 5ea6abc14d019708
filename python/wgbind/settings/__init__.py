"""One server's settings: where its files are, what they say, and what its clients get.

`paths` and `files` are light; `model` and `toml` bring pydantic. Nothing is
imported here, so that a caller pays only for what it uses.
"""
