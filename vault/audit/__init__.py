"""The trail: events, sealed and chained. Pure but for the key that it asks for."""
