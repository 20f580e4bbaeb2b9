"""Sweeps: many songs from one spec, each cell paid for once in its life.

spec      what a person wrote, checked whole           cells     requests with their content-addressed keys
plan      what a run would pay and how long it takes   run       many cells in one session
status    how a sweep stands now                       tally     what a run has come to

sweep = load_sweep(Path("waltz.yaml"))
result = await run_sweep(session, sweep.name, cells_of(sweep, access), access, RunOptions(concurrency=20))
"""
