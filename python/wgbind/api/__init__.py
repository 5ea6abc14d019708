"""The control API of a running server: HTTP and JSON on a Unix socket.

It stands below `wgbind.server`, which serves it and calls through it, and knows
the server by the `Node` protocol alone.
"""
