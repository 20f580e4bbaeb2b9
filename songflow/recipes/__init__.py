"""Recipes: whole songs as trees of paid steps; a rule or a person selects the takes to continue from."""
