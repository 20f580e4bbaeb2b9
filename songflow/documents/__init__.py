"""Reading of YAML documents: line numbers, validation, conditions."""
