"""Fuzzing of everything that reads what strangers write, guided by coverage.

    python -m tests.fuzz                              every target, 60 seconds each, as many at once as there are processors
    python -m tests.fuzz http mounts --seconds 600    some of them for longer
    python -m tests.fuzz http --input BASE64          one input again, as the line of a finding says

A target (`tests.fuzz.targets`) takes bytes, and what they may lead to is an answer or a documented refusal. Everything else is a
finding: another exception, an answer that a bug gave, more than the time and memory of `campaign`, an invariant that does not
hold. Inputs that reach new lines are kept while a campaign lasts and mutated further; words of the code under test make the
dictionary. A campaign is decided by its seed, the clock and the machine's speed; an input always does the same.

`tests/fuzz/corpus/TARGET/` holds the inputs that have found something once. `test_corpus.py` repeats them, and the seeds.
"""
