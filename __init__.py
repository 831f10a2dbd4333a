"""syncer: REST APIs into a warehouse, from one YAML spec each, without losing a record."""
