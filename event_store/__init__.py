"""The event log: where events are kept, in which order, and how it is known that none was changed.

    codec       an event to and from JSON text; `upcasters` read the shapes that older versions wrote
    chain       places events: position, version, hash; the same rules for every store
    memory      `MemoryEventStore`, for tests and for other operating systems' sake
    sqlite      `SqliteEventStore`: `opening` decides whether a file may be used, `writer` is the one thread that
                writes (`fairness` sees to it that it can), `reading` reads beside it, `migrations` and ``views.sql`` make the
                schema, `erasing` forgets secrets, `lock` keeps others out

Imports only `docket.domain`, and nothing that exists on one operating system only.
"""
