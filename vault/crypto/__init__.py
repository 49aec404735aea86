"""Sealing, blind index, padding, pseudonyms and capabilities. Pure: no I/O, no policy."""
