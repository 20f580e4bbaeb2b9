"""Sweeps: many songs from one spec, each cell paid for once in its life.

spec      what a person wrote, checked whole           cells     requests with their content-addressed keys
plan      what a run would pay and how long it takes   run       many cells in one session
standing  how each cell stands in the ledger now
"""
