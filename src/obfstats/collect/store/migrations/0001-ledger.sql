-- Portable SQL: SQLite and PostgreSQL both run it (database.py reads INTEGER as 64 bits, and TEXT as compared by bytes).
-- No semicolon may be in a comment or a string: statements are split there.

-- Keys that a person has admitted.
CREATE TABLE keys (
    key TEXT PRIMARY KEY,
    may_claim INTEGER NOT NULL, -- 1: it may publish for one bridge that no key is named for
    claim TEXT                  -- that bridge, once it has sent a document of it
);

CREATE INDEX keys_claim ON keys (claim) WHERE claim IS NOT NULL;

-- Keys that a person has named for a bridge.
CREATE TABLE names (
    bridge TEXT NOT NULL,
    key TEXT NOT NULL,
    PRIMARY KEY (bridge, key)
);

CREATE INDEX names_key ON names (key);

CREATE TABLE documents (
    digest TEXT NOT NULL,          -- SHA-256 of the text, hex
    key TEXT NOT NULL,             -- the public key that signed it
    bridge TEXT NOT NULL,          -- hashed fingerprint, lower case
    instance TEXT NOT NULL,        -- empty if the document names none
    interval_end INTEGER NOT NULL, -- epoch seconds
    seconds INTEGER NOT NULL,
    month TEXT NOT NULL,           -- of the interval's end, YYYY-MM
    status TEXT NOT NULL,          -- published, quarantined, conflicting, withdrawn, replaced
    reason TEXT NOT NULL,          -- why it is quarantined or conflicting
    received INTEGER NOT NULL,     -- the day, as epoch seconds: the moment is not kept
    text TEXT,                     -- NULL once the month's archive has it
    signature TEXT,                -- likewise
    imported INTEGER NOT NULL,     -- 1: not sent, read from a local file
    recent TEXT,                   -- the file below recent/ that has it
    recent_written INTEGER NOT NULL,
    packed INTEGER NOT NULL,       -- 1: the month's archive has it
    tombstone INTEGER NOT NULL,    -- 1: its withdrawal is published
    PRIMARY KEY (digest, key)
);

-- One content for a bridge, an instance and an interval.
CREATE UNIQUE INDEX documents_slot ON documents (bridge, instance, interval_end)
    WHERE status IN ('published', 'withdrawn');

CREATE INDEX documents_of_key ON documents (key, status, interval_end);

-- Its last column is for counts, which would else read the index of all documents.
CREATE INDEX documents_waiting ON documents (key, bridge, instance, interval_end, digest, status)
    WHERE status IN ('quarantined', 'conflicting');

CREATE INDEX documents_recent ON documents (status, imported, recent, bridge, instance, interval_end)
    WHERE packed = 0;

CREATE INDEX documents_unpacked ON documents (month, imported, interval_end, bridge, instance)
    WHERE packed = 0;

CREATE INDEX documents_withdrawn ON documents (tombstone)
    WHERE status IN ('withdrawn', 'replaced')
