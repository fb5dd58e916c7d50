-- The receiver's database, version 1. Read it top to bottom: who owns data, how devices come in, what they said,
-- what customers see of it.
--
-- Ids are UUIDs in 16 bytes. Times are microseconds since 1970 in UTC; `_device_us` is as the device's clock said,
-- and the column of the same name without `device` is corrected by what is known of that clock. Epochs are 64
-- random bits, kept as the signed integer of the same bits. `sealed` columns are AES-256-GCM under the contract's
-- key, so that destroying the key erases them wherever they were copied to. All other columns are in clear,
-- because something searches, joins or sorts by them.

-- The isolation boundary: who owns the data.
create table contract (
    id          blob    primary key check (length(id) = 16),
    name        text    not null unique,          -- the customer's name; shown in the portal
    created_us  integer not null
) strict, without rowid;

-- The contract's data key. A row gone from here is an erasure of everything sealed under it.
create table contract_key (
    contract    blob    primary key references contract (id),
    wrapped     blob    not null,                 -- 32 key bytes sealed under the master key, which is no file here
    created_us  integer not null
) strict, without rowid;

-- A place of a contract.
create table site (
    id          blob    primary key check (length(id) = 16),
    contract    blob    not null references contract (id),
    name        text    not null,
    created_us  integer not null,
    unique (contract, name)
) strict, without rowid;

-- One-time tickets for installers. Only the hash of the secret is here.
create table claim (
    secret_hash blob    primary key check (length(secret_hash) = 32),
    site        blob    not null references site (id),
    created_us  integer not null,
    expires_us  integer not null check (expires_us > created_us),
    used_us     integer,                          -- set once, with the device that used it
    used_by     blob,
    check ((used_us is null) = (used_by is null))
) strict, without rowid;

-- Appliances. Their contract and site come from the claim, never from what they send.
create table device (
    id               blob    primary key check (length(id) = 16),
    contract         blob    not null references contract (id),
    site             blob    not null references site (id),
    record_key       blob    not null check (length(record_key) = 32), -- Ed25519, pinned at enrollment
    agent_version    text    not null,            -- as stated at enrollment
    enrolled_us      integer not null,            -- the last time
    revoked_us       integer,                     -- from then on nothing of it is taken in
    enrollment       blob    not null check (length(enrollment) = 16), -- certificates of an earlier one count no more
    certificate_serial     blob    not null check (length(certificate_serial) = 16), -- the newest one it has shown
    certificate_from_us    integer not null,
    certificate_until_us   integer not null,      -- device list: who is overdue
    heard_us         integer,                     -- last sign of life, by the receiver's clock
    sealed_heartbeat blob                         -- the latest heartbeat only
) strict, without rowid;
create index device_by_contract on device (contract, site); -- overview; device list

-- Signed batches, byte for byte as they arrived.
create table batch (
    no                integer primary key,        -- order of arrival
    device            blob    not null references device (id),
    epoch             integer not null,
    first_seq         integer not null check (first_seq > 0),
    last_seq          integer not null check (last_seq >= first_seq),
    sha256            blob    not null check (length(sha256) = 32),
    prev              blob    not null check (length(prev) = 32),
    link              integer not null check (link in (0, 1, 2)), -- pending, ok, broken: see sqlite/links.rs
    first_captured_us integer not null,           -- of its first readable record; decides between rival successors
    received_us       integer not null,           -- by the receiver's clock
    from_device_us    integer not null,           -- earliest and
    to_device_us      integer not null,           -- latest capture of a readable record, as the device counts its hours
    records           text    not null,           -- what each record speaks of: see the view `record`
    sealed            blob    not null,           -- canonical bytes and signature
    unique (device, epoch, first_seq)             -- repeats, conflicts, overlaps; the neighbours of a batch
) strict;
create index batch_starts  on batch (device, prev) where first_seq = 1; -- epochs that begin after a batch
create index batch_broken  on batch (device) where link = 2; -- device list: breaks in a chain, without reading all batches
create index batch_by_time on batch (device, to_device_us, from_device_us, sha256); -- the balance of a time; the batch
                                                                                     -- before an epoch, from the newest on

-- Which records are stored, as merged ranges: what receipts are made from. One row per epoch but for holes.
create table stored_range (
    device      blob    not null,
    epoch       integer not null,
    first_seq   integer not null,
    last_seq    integer not null check (last_seq >= first_seq),
    primary key (device, epoch, first_seq)
) strict, without rowid;

-- The records taken in, whatever their kind: what the balance counts. Each is an element of its batch's `records`,
-- [kind, camera, event, captured_device_us], or null where it was refused. The kind is `unknown` for kinds of newer
-- devices; the event is the one that it states or is a picture of. (As rows of a table with its index they were a
-- third of what a commit cost.)
create view record as
    select b.device, b.epoch, b.first_seq + r.key as seq, b.no as batch, r.value ->> 0 as kind,
           unhex(r.value ->> 1) as camera, unhex(r.value ->> 2) as event, r.value ->> 3 as captured_device_us
    from batch b, json_each(iif(json_valid(b.records), b.records, '[]')) r
    where r.type = 'array';

-- Records and batches refused for good: reported to the device, and kept to be reported to the operator.
create table rejection (
    device      blob    not null references device (id),
    epoch       integer not null,
    first_seq   integer not null,
    last_seq    integer not null,
    code        text    not null,                 -- bad_signature, bad_shape, conflict, foreign_camera, ...
    sha256      blob    not null,                 -- of the batch
    whole_batch integer not null check (whole_batch in (0, 1)), -- 1: nothing of the batch was stored
    at_us       integer not null,
    primary key (device, epoch, first_seq, sha256)
) strict, without rowid;

-- Cameras, each known from the first record that spoke of it.
create table camera (
    id             blob    primary key check (length(id) = 16),
    contract       blob    not null references contract (id),
    device         blob    not null references device (id), -- who spoke of it first
    first_us       integer not null               -- when, by the receiver's clock
) strict, without rowid;
create index camera_by_contract on camera (contract); -- overview

-- What was last said of a camera in each boot of a device. Within a boot its boot-time clock tells what is last.
create table camera_state (
    camera         blob    not null references camera (id),
    boot           blob    not null,
    device         blob    not null references device (id),
    epoch          integer not null,
    seq            integer not null,
    name           text    not null,              -- from the device's configuration
    state          text    not null,              -- starting, running, retrying, removed
    reason         text,
    state_us       integer not null,              -- since when
    state_device_us integer not null,
    boottime_us    integer not null,
    synced         integer not null check (synced in (0, 1)),
    primary key (camera, boot)
) strict, without rowid;
create index camera_state_by_boot on camera_state (device, boot) where synced = 0; -- late clock correction

-- Cameras as they are now: the latest statement over all boots.
create view camera_now as
    select k.id, k.contract, coalesce(s.device, k.device) as device, coalesce(s.name, '') as name,
           coalesce(s.state, 'starting') as state, s.reason, coalesce(s.state_us, k.first_us) as state_us
    from camera k left join camera_state s on s.camera = k.id and s.boot = (
        select boot from camera_state where camera = k.id
        order by state_us desc, epoch desc, seq desc limit 1);

-- Events as their highest revision states them. Rows are large and their ids come from many devices: so they lie in
-- order of arrival (a rowid table), and a commit of many touches few pages. They are written more often than anything
-- else: so nothing is looked up only to be refused that the one place that writes them has just made (no foreign keys).
create table event (
    no                 integer primary key,
    contract           blob    not null,
    id                 blob    not null check (length(id) = 16),
    device             blob    not null,
    camera             blob    not null,
    revision           integer not null,
    class              text    not null,
    score              real    not null,
    opened_us          integer not null,
    last_seen_us       integer not null,
    closed_us          integer,
    opened_device_us   integer not null,
    captured_device_us integer not null,          -- when the revision was made, device clock
    boot               blob    not null,          -- boot id, and
    boottime_us        integer not null,          -- time since that boot: lets a later clock record correct the rest
    synced             integer not null check (synced in (0, 1)), -- 0: the clock was not to be trusted
    received_us        integer not null,          -- when its first record was stored
    batch              integer not null,          -- holds the highest revision,
    seq                integer not null,          -- under this number: all that is not said above is read from there
    unique (contract, id)
) strict;
create index event_by_time   on event (contract, opened_us, id, class);         -- timeline, neighbours
create index event_by_camera on event (contract, camera, opened_us, id, class); -- of one camera, today's counts
create index event_by_boot   on event (device, boot) where synced = 0;          -- late clock correction
create index event_blind     on event (contract, camera, opened_us) where class = 'camera' and closed_us is null; -- cannot see now

-- Classes of events that a contract has had: the filter's choices.
create table event_class (
    contract    blob    not null references contract (id),
    class       text    not null,
    primary key (contract, class)
) strict, without rowid;

-- Batches that state overtaken revisions of an event: with the one in its row, and those of its pictures, its proof.
create table event_batch (
    event       integer not null references event (no),
    batch       integer not null references batch (no),
    primary key (event, batch)
) strict, without rowid;

-- What blobs are, as signed records say. In order of arrival, as events are.
create table media (
    no                 integer primary key,
    device             blob    not null references device (id),
    epoch              integer not null,
    seq                integer not null,
    contract           blob    not null,
    batch              integer not null,
    sha256             blob    not null check (length(sha256) = 32),
    class              text    not null,          -- clip, periodic, requested, snapshot, unknown
    content_type       text    not null,
    bytes              integer not null,
    camera             blob    not null,
    event              blob,
    quality            real    not null,
    captured_us        integer not null,
    captured_device_us integer not null,
    boot               blob    not null,
    boottime_us        integer not null,
    synced             integer not null check (synced in (0, 1)),
    arrived            integer not null check (arrived in (0, 1)), -- whether its blob is here
    sealed             blob    not null,          -- the record
    unique (device, epoch, seq)
) strict;
create index media_by_sha256 on media (contract, sha256);                          -- serving; a blob arrives
create index media_by_event  on media (contract, event, arrived, quality) where event is not null; -- snapshot, proof
create index media_by_camera on media (contract, camera, captured_us) where arrived = 1; -- latest picture
create index media_awaited   on media (device, batch) where arrived = 0;           -- pictures that are overdue
create index media_by_boot   on media (device, boot) where synced = 0;             -- late clock correction

-- Blobs that have arrived, were hashed and are durable.
create table blob (
    contract     blob    not null references contract (id),
    sha256       blob    not null check (length(sha256) = 32),
    device       blob    not null references device (id), -- who brought it; bound into its seal
    bytes        integer not null,
    content_type text    not null,
    received_us  integer not null,
    missing_us   integer,                         -- since when its file is known to be gone; then it counts as not here
    primary key (contract, sha256)
) strict, without rowid;
create index blob_missing on blob (contract) where missing_us is not null; -- the operator's count

-- When a boot of a device began: from the first clock record after which its clock was synchronised. Before there is
-- one, and only for clocks that cannot be right: the latest that it can have begun, judged by when records arrived.
create table boot (
    device       blob    not null references device (id),
    boot         blob    not null,
    began_us     integer not null,
    learned_at_boottime_us integer,               -- of several clock records the earliest counts; null: by arrival only
    primary key (device, boot)
) strict, without rowid;

-- What was lost on the way, as devices state it.
create table gap (
    device      blob    not null references device (id),
    epoch       integer not null,
    seq         integer not null,
    contract    blob    not null,
    camera      blob,
    class       text    not null,
    count       integer not null,
    reason      text    not null,
    from_us     integer not null,
    to_us       integer not null,
    when_known  integer not null check (when_known in (0, 1)), -- 0: its times cannot be right; it was told then
    from_device_us     integer not null,
    to_device_us       integer not null,
    captured_device_us integer not null,          -- when it was told, device clock
    boot        blob    not null,
    boottime_us integer not null,
    synced      integer not null check (synced in (0, 1)),
    primary key (device, epoch, seq)
) strict, without rowid;
create index gap_by_time   on gap (contract, to_us);                 -- the timeline's gaps
create index gap_by_camera on gap (contract, camera, to_device_us);  -- was an event's picture lost?
create index gap_by_boot   on gap (device, boot) where synced = 0;   -- late clock correction

-- Each time a camera, or where there is no camera the agent itself, said that its state had changed.
create table state_change (
    device      blob    not null references device (id),
    epoch       integer not null,
    seq         integer not null,
    camera      blob,
    state       text    not null,                 -- starting, running, retrying, removed; started, stopping
    reason      text,
    at_us       integer not null,
    boot        blob    not null,
    boottime_us integer not null,
    synced      integer not null check (synced in (0, 1)),
    primary key (device, epoch, seq)
) strict, without rowid;
create index state_change_by_camera on state_change (camera, at_us) where camera is not null;
create index state_change_by_agent  on state_change (device, at_us) where camera is null;
create index state_change_by_boot   on state_change (device, boot) where synced = 0;

-- How many were seen, or crossed a line, within one minute: what charts are drawn from. A row is one record; those of one
-- minute and place add up. One tree: the rows of a camera lie in order of time, and nothing else is asked of them.
create table minute_count (
    contract    blob    not null,
    camera      blob    not null,
    minute_us   integer not null,                 -- its beginning
    device      blob    not null,
    epoch       integer not null,
    seq         integer not null,
    minute_device_us   integer not null,
    captured_device_us integer not null,          -- when it was told, device clock
    boot        blob    not null,
    boottime_us integer not null,
    synced      integer not null check (synced in (0, 1)),
    sealed      blob    not null,                 -- what was counted: zones and lines have names of the customer's
    primary key (contract, camera, minute_us, device, epoch, seq)
) strict, without rowid;
create index minute_count_by_boot on minute_count (device, boot) where synced = 0; -- late clock correction

-- Commands to devices: also the audit of who asked what, and what came of it.
create table command (
    id            blob    primary key check (length(id) = 16),
    device        blob    not null references device (id),
    request       text    not null,               -- its name
    issued_us     integer not null,
    deadline_us   integer not null,
    sealed        blob    not null,               -- the whole command, JSON
    sent_us       integer,                        -- first time it was handed to a connection
    answered_us   integer,                        -- when the device's audit record arrived
    outcome       text,                           -- done, failed, refused
    sealed_detail blob                            -- what the device said beside
) strict, without rowid;
create index command_open on command (device, deadline_us) where answered_us is null; -- what to send

-- Customers' accounts (general users).
create table user (
    login_id             text    primary key,
    contract             blob    not null references contract (id),
    password_hash        text    not null,        -- Argon2id, PHC string
    must_change_password integer not null check (must_change_password in (0, 1)),
    created_us           integer not null,
    last_sign_in_us      integer,
    failed_since         integer not null default 0, -- since the last success
    failed_before        integer not null default 0  -- before the last success: shown after it
) strict, without rowid;

-- Those who run the receiver. They own no contract, and come in by a door of their own: none of their rows is ever
-- looked at when a customer signs in, nor the reverse. Login IDs are unique over both tables.
create table operator (
    login_id             text    primary key,
    password_hash        text    not null,        -- Argon2id, PHC string
    must_change_password integer not null check (must_change_password in (0, 1)),
    created_us           integer not null,
    last_sign_in_us      integer,
    failed_since         integer not null default 0, -- as in table user
    failed_before        integer not null default 0
) strict, without rowid;

-- Customers' signed-in browsers; the token itself is nowhere stored.
create table session (
    token_hash   blob    primary key check (length(token_hash) = 32),
    login_id     text    not null references user (login_id) on delete cascade,
    created_us   integer not null,
    last_used_us integer not null
) strict, without rowid;
create index session_by_user on session (login_id); -- ending all sessions of a user

-- Operators' signed-in browsers.
create table operator_session (
    token_hash   blob    primary key check (length(token_hash) = 32),
    login_id     text    not null references operator (login_id) on delete cascade,
    created_us   integer not null,
    last_used_us integer not null
) strict, without rowid;
create index operator_session_by_operator on operator_session (login_id); -- ending all sessions of an operator

-- Every attempt to sign in to an account that exists, of a customer or of an operator.
create table sign_in (
    no         integer primary key,
    login_id   text    not null,
    at_us      integer not null,
    succeeded  integer not null check (succeeded in (0, 1))
) strict;
create index sign_in_by_user on sign_in (login_id, at_us);

-- Signed statements of what is held, in order. Copies of them are sent out: see docs/evidence.md.
create table heads (
    number      integer primary key check (number > 0),
    at_us       integer not null,
    sha256      blob    not null check (length(sha256) = 32), -- of the statement; the next one names it
    document    text    not null,                 -- the whole file, as sent out: ids, counts and hashes only
    written_us  integer,                          -- when it was put into the folder that the configuration names
    mailed_us   integer,                          -- when a mail server took it
    problem     text,                             -- why the last attempt to send it failed
    time_stamp  blob,                             -- an authority's answer over the document (RFC 3161), as it came
    stamped_us  integer,                          -- the time that it states
    stamp_written_us integer,                     -- as written_us and mailed_us, of the time stamp
    stamp_mailed_us  integer,
    stamp_problem    text,                        -- why the last attempt to get one failed
    check ((time_stamp is null) = (stamped_us is null))
) strict;

-- One row. Counts changes that open connections must hear of (commands, revocations), whichever process made them.
create table control (
    one     integer primary key check (one = 1),
    version integer not null
) strict;
insert into control values (1, 0);

-- One row: the master key that wraps every row of contract_key, by its id. The key itself is no file here.
create table master_key (
    one integer primary key check (one = 1),
    id  blob    not null check (length(id) = 16)
) strict;
