-- Version 3: how a contract ends - holds that keep what it has, and its erasure, of which a certificate is left.

-- What must be kept, whatever a contract's period or retention says. Absent columns: all of them.
create table hold (
    id          blob    primary key check (length(id) = 16),
    contract    blob    not null references contract (id),
    site        blob    references site (id),
    camera      blob    references camera (id),
    from_us     integer,                          -- captured at or after
    to_us       integer,                          -- captured before
    placed_us   integer not null,
    sealed      blob    not null,                 -- why: it may name people
    check (from_us is null or to_us is null or from_us < to_us)
) strict, without rowid;
create index hold_by_contract on hold (contract); -- what blocks an erasure; what retention leaves

-- Erasures, under way and done. No reference to the contract: this row outlives it, and is all that does, but for the
-- audit log. Nothing here says in clear who the customer was.
create table erasure (
    id            blob    primary key check (length(id) = 16),
    contract      blob    not null unique check (length(contract) = 16),
    step          text    not null,               -- the next one, see store/erasure.rs; `done`
    began_us      integer not null,
    wait_until_us integer not null,               -- so long devices may take to answer
    due_us        integer,                        -- the end of the day by which it must be done; null: on request
    draft         text    not null,               -- JSON of the certificate as far as it is known; empty once it is signed
    document      text,                           -- the certificate as signed: JSON, see wire/src/evidence/erasure.rs
    finished_us   integer,
    check ((document is null) = (finished_us is null)),
    check ((step = 'done') = (document is not null))
) strict, without rowid;
