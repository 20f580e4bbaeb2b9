"""Ways to have the flows run for others: schedules, the UI's Run button, workers."""
