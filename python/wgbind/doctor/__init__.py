"""What on a host stands in a server's way, and how to mend it."""
