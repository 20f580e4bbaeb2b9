"""One paid generation, from a request to its songs on the store."""
