"""Model families: each with its request model, wire body, hash versions, models, and what an extension returns."""
