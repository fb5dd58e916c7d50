-- The durable outbox of one device: what was decided here and has no receipt yet.
--
-- This file is the readable truth; `migrations/` builds the same tables step by step and a test compares them.
-- Payloads are sealed (AES-256-GCM); what stands in clear here is what `docs/spool.md` says a thief can read.
-- States: a row of `batch` or `blob` is ready, or leased (a lease lives in memory only: a restart forgets it,
-- which is what is wanted). Settling deletes the row. A record refused for good moves to `parked`.

-- Which numbered steps were applied; the highest is the version of this database.
create table schema_version (
    version       integer primary key check (version >= 1), -- number of the step
    applied_at_us integer not null                          -- UTC as the device's clock said; for people
) strict;

-- One row: whose outbox this is, where its chain ends and how much there is. Counted here, in the transaction that
-- changes what is counted, so that a start with a large backlog sums nothing up.
create table meta (
    one         integer primary key check (one = 1),          -- keeps it one row
    device_id   blob not null check (length(device_id) = 16), -- UUID; a foreign database is quarantined
    head_hash   blob not null check (length(head_hash) = 32), -- SHA-256 of the newest batch; zeros: none yet. The next batch names it
    next_seq    integer not null check (next_seq >= 1),       -- number of the next record of the newest epoch
    turn        integer not null check (turn >= 0),           -- counts commits: tells after a failed one whether it landed
    salvaged    integer not null check (salvaged between 0 and 2), -- 1: carried over from a damaged database, losses not yet named; 2: and its balance was unreadable
    records     integer not null check (records >= 0),        -- pending
    batches     integer not null check (batches >= 0),
    batch_bytes integer not null check (batch_bytes >= 0),    -- of the sealed batches
    blobs       integer not null check (blobs >= 0),
    blob_bytes  integer not null check (blob_bytes >= 0),     -- of the sealed files
    parked      integer not null check (parked >= 0)          -- records ever parked
) strict;

-- One row per start of the agent.
create table epoch (
    ordinal    integer primary key,                                -- order of starts
    epoch      blob not null unique check (length(epoch) = 8),     -- random, big-endian
    started_us integer not null,                                   -- UTC as the device's clock said; for people
    last_seq   integer check (last_seq >= 0)                       -- number of its last record; null: goes on, see meta.next_seq
) strict;

-- Which record numbers are no longer pending, and what became of them: neighbours with the same end share a row, so
-- there are few. With `batch` this covers every number of an epoch; a number in neither is a defect, and has a name.
create table ended (
    epoch     blob not null check (length(epoch) = 8),   -- big-endian
    first_seq integer not null check (first_seq >= 1),
    last_seq  integer not null check (last_seq >= first_seq),
    how       text not null check (how in ('settled', 'shed', 'parked', 'forgotten')), -- forgotten: one of the three
    primary key (epoch, first_seq)
) strict, without rowid;

-- One row per batch, not per record: one insert, one signature, one seal and one delete for up to 100 records.
create table batch (
    id        integer primary key autoincrement,          -- order of commit, never reused
    epoch     blob not null check (length(epoch) = 8),    -- big-endian
    first_seq integer not null check (first_seq >= 1),    -- number of its first record
    records   integer not null check (records between 1 and 100),
    oldest_us integer not null,                           -- smallest captured_at_us in it: "oldest unsent"
    has_gap   integer not null check (has_gap in (0, 1)), -- 1: holds gap records, so it is shed last of all
    tally     text not null check (json_valid(tally)),    -- [[camera, class, hour_us, count, from_us, to_us], ..]: what the balance counts
    sealed    blob not null check (length(sealed) > 28)   -- nonce, ciphertext, tag of the signed canonical bytes
) strict;

-- Serves: settling by receipt (ranges of numbers within an epoch), and keys are never reused.
create unique index batch_key on batch (epoch, first_seq);

-- One row per blob that has no 2xx yet. Its file is complete on disk before this row exists.
create table blob (
    id           integer primary key autoincrement,              -- order of arrival, never reused
    sha256       blob not null unique check (length(sha256) = 32), -- of the plain bytes: its name at the receiver
    class        text not null check (length(class) > 0),        -- clip, periodic, requested, snapshot
    shed_rank    integer not null check (shed_rank between 1 and 4), -- order of shedding, lowest first
    camera       blob not null check (length(camera) = 16),      -- UUID
    captured_us  integer not null,                               -- captured_at_us of its first media record
    bytes        integer not null check (bytes > 0),             -- of the plain picture or clip
    file_bytes   integer not null check (file_bytes > bytes),    -- of the sealed file
    content_type text not null,                                  -- MIME type for the upload
    file         text not null unique                            -- name below blobs/
) strict;

-- Serves: quota (oldest of the cheapest class first) and delivery (oldest of the dearest class first).
create index blob_order on blob (shed_rank, id);

-- Records refused for good or found unreadable. Kept for a person to look at; never sent again.
create table parked (
    id        integer primary key,                       -- order of parking
    epoch     blob not null check (length(epoch) = 8),   -- big-endian
    seq       integer not null check (seq >= 1),         -- its number
    code      text not null,                             -- the receiver's word, or `unreadable`
    parked_us integer not null,                          -- UTC as the device's clock said
    sealed    blob                                       -- the record's JSON; null where it could not be opened
) strict;

-- captured = settled + shed + parked + pending, per camera, class and hour of capture. Changed only in the
-- transaction that changes what it counts.
create table balance (
    camera   blob not null check (length(camera) in (0, 16)),  -- empty: the device itself
    class    text not null,                                    -- a record's kind, or a blob's media class
    hour_us  integer not null check (hour_us % 3600000000 = 0), -- start of the hour of captured_at_us
    captured integer not null default 0 check (captured >= 0), -- accepted by the spool
    settled  integer not null default 0 check (settled >= 0),  -- the receiver has it
    shed     integer not null default 0 check (shed >= 0),     -- lost, and named in a gap record
    parked   integer not null default 0 check (parked >= 0),   -- refused or unreadable, and named too
    primary key (camera, class, hour_us)
) strict, without rowid;

-- Events that were told and have not ended, each as its newest accepted record says. What stands here at a start was cut
-- off by a crash: the agent then ends it. Changed only in the transaction that accepts the record.
create table open_event (
    event  blob primary key check (length(event) = 16), -- UUID
    told   integer not null unique,                     -- order of telling: beyond a bound the longest untold goes
    sealed blob not null check (length(sealed) > 28)    -- the record's JSON
) strict, without rowid;

-- What the books no longer tell one by one, once something of them was let go; without a row they tell everything.
create table forgotten (
    one       integer primary key check (one = 1),              -- keeps it one row
    before_us integer,                                          -- hours from this one on are complete in `balance`, a line of an earlier one counts what came since; null: all are
    starts    integer not null default 0 check (starts >= 0),   -- rows of `epoch` that are gone, with all their numbers
    captured  integer not null default 0 check (captured >= 0), -- sums of the lines of `balance` that are gone
    settled   integer not null default 0 check (settled >= 0),
    shed      integer not null default 0 check (shed >= 0),
    parked    integer not null default 0 check (parked >= 0)
) strict;
