-- Views for people: `sqlite3 log.db`, Datasette, `docket log --sql`. The engine itself never reads them.
-- One statement per view; the name is what stands behind CREATE VIEW. Times are UTC with milliseconds.

-- Every container the log has ever heard of, those that were removed with status 'removed'.
CREATE VIEW containers AS
WITH
    changes AS (
        SELECT position, time, type, data, json_extract(data, '$.container') AS container
        FROM events
        WHERE type LIKE 'Container%' AND json_extract(data, '$.container') IS NOT NULL
    ),
    -- Beside max(), SQLite takes bare columns from the row that holds the maximum.
    latest AS (
        SELECT container, max(position) AS position, time, type, data
        FROM changes
        WHERE type IN (
            'ContainerCreated', 'ContainerStarting', 'ContainerStarted', 'ContainerStartFailed', 'ContainerPaused',
            'ContainerUnpaused', 'ContainerExited', 'ContainerRemoved'
        )
        GROUP BY container
    ),
    named AS (
        SELECT container, max(position) AS position, json_extract(data, '$.name') AS name
        FROM changes
        WHERE type IN ('ContainerCreated', 'ContainerRenamed')
        GROUP BY container
    ),
    started AS (
        SELECT container, max(position) AS position, time, json_extract(data, '$.pid') AS pid
        FROM changes
        WHERE type = 'ContainerStarted'
        GROUP BY container
    ),
    exited AS (
        SELECT container, max(position) AS position, time, json_extract(data, '$.exit_code') AS exit_code
        FROM changes
        WHERE type = 'ContainerExited'
        GROUP BY container
    )
SELECT
    created.container AS container,
    named.name AS name,
    coalesce(json_extract(created.data, '$.image'), json_extract(created.data, '$.spec.image')) AS image,
    json_extract(created.data, '$.image_id') AS image_id,
    CASE latest.type
        WHEN 'ContainerCreated' THEN 'created'
        WHEN 'ContainerStarting' THEN 'starting'
        WHEN 'ContainerStarted' THEN 'running'
        WHEN 'ContainerStartFailed' THEN 'start failed'
        WHEN 'ContainerPaused' THEN 'paused'
        WHEN 'ContainerUnpaused' THEN 'running'
        WHEN 'ContainerExited' THEN 'exited'
        WHEN 'ContainerRemoved' THEN 'removed'
    END AS status,
    CASE WHEN latest.type IN ('ContainerStarted', 'ContainerPaused', 'ContainerUnpaused') THEN started.pid END AS pid,
    exited.exit_code AS exit_code,
    strftime('%Y-%m-%dT%H:%M:%fZ', created.time / 1e9, 'unixepoch') AS created,
    strftime('%Y-%m-%dT%H:%M:%fZ', started.time / 1e9, 'unixepoch') AS started,
    strftime('%Y-%m-%dT%H:%M:%fZ', exited.time / 1e9, 'unixepoch') AS exited,
    strftime('%Y-%m-%dT%H:%M:%fZ', latest.time / 1e9, 'unixepoch') AS changed,
    latest.position AS position
FROM changes AS created
JOIN latest ON latest.container = created.container
JOIN named ON named.container = created.container
LEFT JOIN started ON started.container = created.container
LEFT JOIN exited ON exited.container = created.container
WHERE created.type = 'ContainerCreated';

-- The images that exist, with their references as a JSON array.
CREATE VIEW images AS
WITH
    changes AS (
        SELECT position, time, type, data, json_extract(data, '$.image') AS image
        FROM events
        WHERE type IN ('ImageImported', 'ImageRemoved')
    ),
    latest AS (
        SELECT image, max(position) AS position, time, type, data FROM changes GROUP BY image
    ),
    -- A reference belongs to the image that was tagged with it last.
    tags AS (
        SELECT
            json_extract(data, '$.reference') AS reference,
            max(position) AS position,
            type,
            json_extract(data, '$.image') AS image
        FROM events
        WHERE type IN ('ImageTagged', 'ImageUntagged')
        GROUP BY json_extract(data, '$.reference')
    )
SELECT
    latest.image AS image,
    (
        SELECT json_group_array(reference)
        FROM tags
        WHERE tags.image = latest.image AND tags.type = 'ImageTagged' AND tags.position > latest.position
    ) AS "references",
    json_extract(latest.data, '$.size') AS size,
    strftime('%Y-%m-%dT%H:%M:%fZ', latest.time / 1e9, 'unixepoch') AS imported,
    latest.position AS position
FROM latest
WHERE latest.type = 'ImageImported';

-- Who asked for what, and what became of it.
CREATE VIEW jobs AS
SELECT
    json_extract(accepted.data, '$.job') AS job,
    json_extract(accepted.data, '$.name') AS name,
    json_extract(accepted.data, '$.arguments') AS arguments,
    accepted.actor AS actor,
    CASE outcome.type WHEN 'JobCompleted' THEN 'completed' WHEN 'JobFailed' THEN 'failed' ELSE 'open' END AS status,
    json_extract(outcome.data, '$.message') AS message,
    strftime('%Y-%m-%dT%H:%M:%fZ', accepted.time / 1e9, 'unixepoch') AS accepted,
    (outcome.time - accepted.time) / 1e6 AS duration_ms,
    accepted.position AS position
FROM events AS accepted
LEFT JOIN events AS outcome
    ON outcome.stream = accepted.stream AND outcome.type IN ('JobCompleted', 'JobFailed')
WHERE accepted.type = 'JobAccepted';

-- What the kernel was asked for each job, and the operations that carried it out, in order. A recording is JSON lines; what is no
-- valid JSON is shown as no rows. `operation` is a call of the kernel port, or a step of a plan behind its `launch` or `release`.
CREATE VIEW kernel_calls AS
WITH
    parts AS (
        SELECT id, job, created_ns, '[' || replace(trim(CAST(data AS TEXT), char(10)), char(10), ',') || ']' AS list
        FROM recordings
    )
SELECT
    parts.job AS job,
    parts.id AS recording,
    line.key + 1 AS number,
    coalesce(json_extract(line.value, '$.call'), json_extract(line.value, '$.operation[0]'), 'undo') AS operation,
    coalesce(json_extract(line.value, '$.arguments'), json_extract(line.value, '$.operation')) AS arguments,
    coalesce(json_extract(line.value, '$.errno'), 0) AS errno,
    json_extract(line.value, '$.syscall') AS syscall,
    json_extract(line.value, '$.duration_ns') AS duration_ns,
    strftime('%Y-%m-%dT%H:%M:%fZ', parts.created_ns / 1e9, 'unixepoch') AS recorded
FROM parts, json_each(CASE WHEN json_valid(parts.list) THEN parts.list ELSE '[]' END) AS line
WHERE json_type(line.value, '$.call') = 'text' OR json_type(line.value, '$.operation') = 'array';
