"""Schema migrations: one history for compartments, one for control. See `store.schema`."""
