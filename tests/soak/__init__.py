"""The soak: many cycles, and what grows with them; running containers, and an engine that is killed under them again and again.

    python -m tests.soak --cycles N     run and remove N containers; the slope of memory, descriptors, threads, files and log bytes
    python -m tests.soak --kills N      N times SIGKILL with --containers running: none dies, no output is lost, all ends are known
    python -m tests.soak --restarts N   a crash loop on the fake kernel, with a real log: how large it and its archives become
    python -m tests.soak --starts N     N starts of a daemon with 1,000 containers and 100,000 events: the time to the first answer

All but the third need root. The daemon is one of the soak's own, below a temporary directory.
"""
