"""Running graphs: the reference interpreter, the fast engine, artifacts and measurements."""
