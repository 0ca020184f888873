"""The nouns of the engine: for each, what can be asked (commands), what happened (events) and what is (state).

`decide(state, command)` answers a command with events or a `Rejection`; `evolve(state, event, time_ns)` folds an event. Both
are pure: time, ids and randomness arrive inside the command or beside the event.
"""
