"""Views of the ledger: manifest, lineage, ratings, exports."""
