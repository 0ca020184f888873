"""Which commands there are, in which module each lives, and how the grouped spellings map to them.

Only the module of the command that was called is imported. A row is `name: (module, attribute, summary)`: the attribute of
`docket.cli.commands.<module>` is a `Command`. Summaries are repeated here so that `docket --help` imports no command; a test
compares the two.
"""

from __future__ import annotations

Row = tuple[str, str, str]

COMMANDS: dict[str, Row] = {
    "attach": ("attach", "ATTACH", "Attach the terminal's streams to a running container"),
    "audit": ("history", "AUDIT", "Check that no event of the log was altered"),
    "commit": ("files", "COMMIT", "Make an image of a container's changes"),
    "cp": ("cp", "CP", "Copy files between a container and the local file system"),
    "create": ("create", "CREATE", "Create a container without starting it"),
    "daemon": ("daemon", "DAEMON", "Run the engine"),
    "diff": ("files", "DIFF", "List what changed in a container's files"),
    "events": ("events", "EVENTS", "Show what happens in the engine as it happens"),
    "exec": ("exec", "EXEC", "Run a command in a running container"),
    "explain": ("history", "EXPLAIN", "Show the kernel's part of a container or job as shell commands"),
    "forget": ("history", "FORGET", "Erase a container's secrets from the whole history"),
    "export": ("files", "EXPORT", "Write a container's files as a tar archive"),
    "fsck": ("fsck", "FSCK", "Check log, images, containers and kernel against each other"),
    "history": ("archives", "HISTORY", "Show how an image came to be"),
    "images": ("images", "IMAGES", "List images"),
    "import": ("images", "IMPORT", "Make an image from a tar archive of a file system"),
    "info": ("system", "INFO", "Show facts about the engine and its host"),
    "inspect": ("inspect", "INSPECT", "Show all that is known about objects"),
    "kill": ("lifecycle", "KILL", "Send a signal to running containers"),
    "load": ("archives", "LOAD", "Take images out of a tar archive"),
    "log": ("log", "LOG", "Show the event log, the engine's source of truth"),
    "login": ("registries", "LOGIN", "Check credentials for a registry and keep them"),
    "logout": ("registries", "LOGOUT", "Forget the credentials for a registry"),
    "logs": ("logs", "LOGS", "Show the output of a container"),
    "pause": ("lifecycle", "PAUSE", "Freeze all processes of containers"),
    "ps": ("ps", "PS", "List containers"),
    "pull": ("images", "PULL", "Fetch an image from a registry"),
    "push": ("registries", "PUSH", "Send an image to a registry"),
    "rename": ("lifecycle", "RENAME", "Rename a container"),
    "replay": ("history", "REPLAY", "Execute jobs again against what the kernel did then"),
    "restart": ("lifecycle", "RESTART", "Stop and start containers"),
    "rm": ("lifecycle", "RM", "Remove containers"),
    "rmi": ("images", "RMI", "Remove images"),
    "run": ("run", "RUN", "Create a container from an image and run it"),
    "search": ("registries", "SEARCH", "Search a registry for images"),
    "save": ("archives", "SAVE", "Write images into a tar archive"),
    "start": ("start", "START", "Start stopped containers"),
    "stats": ("stats", "STATS", "Show the resource use of containers as it changes"),
    "stop": ("lifecycle", "STOP", "Stop running containers"),
    "tag": ("images", "TAG", "Give an image another name"),
    "top": ("top", "TOP", "List the processes of a container"),
    "unpause": ("lifecycle", "UNPAUSE", "Thaw all processes of containers"),
    "version": ("system", "VERSION", "Show the versions of client and engine"),
    "wait": ("lifecycle", "WAIT", "Wait until containers stop and print their exit codes"),
    "why": ("why", "WHY", "Show the jobs and events that made an image or a container what it is"),
}

_CONTAINER = (
    "attach commit cp create diff exec export kill logs pause rename restart rm run start stats stop top unpause wait".split()
)

# Grouped spellings: `docket container ls` is `docket ps`, said with other words.
GROUPS: dict[str, tuple[str, dict[str, str]]] = {
    "container": (
        "Manage containers",
        {
            **{name: name for name in _CONTAINER},
            "ls": "ps", "list": "ps", "ps": "ps", "remove": "rm", "inspect": "container-inspect",
        },
    ),
    "image": (
        "Manage images",
        {
            "ls": "images", "list": "images", "rm": "rmi", "remove": "rmi", "import": "import", "pull": "pull",
            "push": "push", "tag": "tag", "inspect": "image-inspect",
            "save": "save", "load": "load", "history": "history", "prune": "image-prune",
        },
    ),
    "system": ("Manage the engine", {"info": "info", "events": "events", "df": "system-df"}),
}  # fmt: skip

# Reached through a group only.
GROUPED_ONLY: dict[str, Row] = {
    "image-prune": ("archives", "PRUNE", "Remove images that nobody uses"),
    "system-df": ("archives", "DF", "Show how much disk images and containers take"),
    "container-inspect": ("inspect", "CONTAINER_INSPECT", "Show all that is known about containers"),
    "image-inspect": ("inspect", "IMAGE_INSPECT", "Show all that is known about images"),
}


def row(name: str) -> Row:
    """The row of a command or of a command behind a group."""
    return COMMANDS.get(name) or GROUPED_ONLY[name]
