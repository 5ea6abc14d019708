//! IP, TCP and UDP headers, read and written in place.
