"""The files of wg-quick(8): read, understood, and written."""
