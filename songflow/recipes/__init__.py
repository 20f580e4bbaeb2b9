"""Recipes: whole songs as trees of paid steps, with a rule or a person that takes the take to go on with."""
