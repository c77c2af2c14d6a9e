"""Faults of every part of the data plane, met by real processes: models, applications, a controller, a database."""
