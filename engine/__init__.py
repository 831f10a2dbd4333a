"""The spec-agnostic engine. Data flows one way: spec, plan, pages, hub, batches, warehouse."""
