"""Polling schedules learned from the durations of earlier generations (docs/waiting.md).

durations -> changes -> density, ticks -> optimum -> learned: each imports only those before it, and none uses HTTP,
clocks or files. `memory` reads durations from the ledger, `watch` observes them during a wait. `loop` waits for one
generation, `batch` shares the requests of many waits.
"""

from songflow.polling.durations import Duration, duration_of
from songflow.polling.learned import History, Learned, learn
from songflow.polling.memory import Memory
from songflow.polling.optimum import Law, Plan, best_times, mean_gets, mean_lag, plan_for_lag
from songflow.polling.watch import Watch

__all__ = [
    "Duration",
    "History",
    "Law",
    "Learned",
    "Memory",
    "Plan",
    "Watch",
    "best_times",
    "duration_of",
    "learn",
    "mean_gets",
    "mean_lag",
    "plan_for_lag",
]
