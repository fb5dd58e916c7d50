-- Version 5: mail, notices to customers, what is watched, and what users are told of.

-- Mail that goes out, one row for each recipient: nobody sees another's address. A row is written in the commit of what it
-- tells of, and stays as the proof of sending.
create table mail (
    no          integer primary key,
    id          blob    not null unique check (length(id) = 16), -- its Message-ID: the same at every attempt
    contract    blob    references contract (id) on delete cascade, -- whose people it is to; absent: the operator's own
    kind        text    not null,                 -- notice, alert, confirm, event
    about       blob,                             -- the notice that it tells of
    created_us  integer not null,
    offered_us  integer not null,                 -- from when its three days count: later where an operator offered it again
    due_us      integer not null,                 -- not tried before
    attempts    integer not null default 0,
    tried_us    integer,                          -- the last time
    taken_us    integer,                          -- when a server took it
    taken_by    text,                             -- which one
    given_up_us integer,                          -- when it was said that it will not arrive
    letter      blob    not null,                 -- JSON: recipient, subject, bodies; sealed where there is a contract
    outcome     blob,                             -- JSON: the server's answer, the last problem; sealed alike, as servers repeat addresses
    check (taken_us is null or given_up_us is null)
) strict;
create index mail_due on mail (due_us) where taken_us is null and given_up_us is null;
create index mail_about on mail (about) where about is not null; -- the proof of a notice
create index mail_by_contract on mail (contract);

-- What customers are told of: maintenance before it, incidents when they are.
create table notice (
    id           blob    primary key check (length(id) = 16),
    kind         text    not null check (kind in ('maintenance', 'incident')),
    from_us      integer not null,                -- begins, or has begun
    to_us        integer,                         -- of maintenance: when it ends
    what         text    not null,                -- in the operator's words, which name no person
    what_en      text,                            -- the same for those who read English
    urgent_why   text,                            -- why it was told less than 14 days before
    created_us   integer not null,
    cancelled_us integer,
    closed_us    integer,                         -- of an incident: when it was said to be over
    check ((kind = 'maintenance') = (to_us is not null))
) strict, without rowid;

-- Whom a notice concerns: their pages show it.
create table notice_contract (
    notice      blob    not null references notice (id),
    contract    blob    not null references contract (id) on delete cascade,
    primary key (contract, notice)
) strict, without rowid;
create index notice_contract_by_notice on notice_contract (notice);

-- What is wrong with a device or camera for longer than agreed. One row from beginning to end, however often it flaps.
create table alert (
    no          integer primary key,
    contract    blob    not null references contract (id) on delete cascade,
    device      blob    not null,
    camera      blob,                             -- absent: the device itself
    kind        text    not null check (kind in ('device_silent', 'camera_silent', 'clock_off')),
    since_us    integer not null,                 -- last sign of life, or when it was first seen off
    opened_us   integer not null,
    good_us     integer,                          -- since when it has been well again, without a break
    closed_us   integer,
    told_us     integer,                          -- when mail of it was put in the outbox; one that ended before is not told
    end_told_us integer
) strict;
create unique index alert_open on alert (device, kind, coalesce(camera, x'')) where closed_us is null;
create index alert_recent on alert (device, kind, closed_us);
create index alert_by_contract on alert (contract) where closed_us is null;
create index alert_untold on alert (opened_us) where told_us is null or (closed_us is not null and end_told_us is null);

-- What users want to be told of by mail.
create table subscription (
    login_id    text    primary key references user (login_id) on delete cascade,
    contract    blob    not null references contract (id) on delete cascade,
    stop_hash   blob    not null unique check (length(stop_hash) = 32), -- of the token in each mail's link
    confirm_hash blob   unique check (length(confirm_hash) = 32), -- of the token in the one mail that asks
    confirm_until_us integer,
    confirmed_us integer,                         -- the address' owner said yes; nothing is sent before
    stopped_us  integer,                          -- by the link in a mail
    mailed_us   integer,                          -- when the last mail about events was put in the outbox
    sealed      blob    not null                  -- JSON: address, what, when, how often, the token
) strict, without rowid;
create index subscription_by_contract on subscription (contract);

-- Events that a user is to be told of with the next mail.
create table subscription_event (
    login_id    text    not null references subscription (login_id) on delete cascade,
    event       integer not null,                 -- event.no
    id          blob    not null check (length(id) = 16),
    late        integer not null check (late in (0, 1)), -- it was long past when it arrived
    due_us      integer not null,                 -- not mailed before
    primary key (login_id, event)
) strict, without rowid;

-- One row: the newest event that has been compared with what users want.
create table subscription_cursor (
    one         integer primary key check (one = 1),
    event       integer not null
) strict;
insert into subscription_cursor select 1, coalesce(max(no), 0) from event;
