"""Model families: each with its request, canonical body, hash versions, models, and what an extension returns.

`songflow.families.registry` finds the family of a request, a model or a stored body.
"""
