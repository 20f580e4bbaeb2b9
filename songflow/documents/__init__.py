"""Documents that people write: YAML with line numbers, conditions."""
