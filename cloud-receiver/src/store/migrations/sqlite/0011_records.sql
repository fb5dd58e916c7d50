-- Version 11: records whose agreed time of keeping is over.
--
-- The signed batch is what goes: whole, when everything in it may go, with all rows that were made of it. Its own row stays,
-- with an empty `sealed` and `records`: its numbers, hashes and link, by which a repeat is known and the chain goes on.

-- Batches that still have their records, by when to look whether they may go: not before the agreed time has passed since
-- `look_us`. At first that is the capture of the newest record, or the arrival, if the clock ran ahead. A batch that holds
-- something that is kept is put off for a day: so an hour's look reads what may go, not all that is kept for longer.
create table record_age (
    device      blob    not null references device (id),
    look_us     integer not null,
    batch       integer not null references batch (no),
    primary key (device, look_us, batch)
) strict, without rowid;
insert into record_age select device, min(to_device_us, received_us), no from batch;

-- What went, counted as the balance counts: so it still adds up. Hours are those of the device's clock.
create table record_gone (
    device      blob    not null references device (id),
    hour        integer not null,                 -- since 1970
    camera      blob    not null,                 -- empty: the device itself
    class       text    not null,                 -- kind of record; of pictures their class, too
    reason      text    not null,                 -- empty: had been received; else lost on the device, and why
    number      integer not null,
    primary key (device, hour, camera, class, reason)
) strict, without rowid;

-- Pictures that had never come when the record that names them went: should they come after all, they go, too.
create table picture_gone (
    contract    blob    not null references contract (id),
    sha256      blob    not null check (length(sha256) = 32),
    primary key (contract, sha256)
) strict, without rowid;

-- Since something went: of the time before this moment only that is here which is kept for longer. Pages say so.
create table records_before (
    contract    blob    primary key references contract (id),
    before_us   integer not null
) strict, without rowid;

-- What else goes by its age.
create index command_told on command (device, answered_us) where sealed_detail is not null;
create index mail_of_events on mail (contract, created_us) where kind = 'event';

-- As before; and an hour in which nothing is counted any more has no row.
drop trigger event_gone;
create trigger event_gone after delete on event begin
    update event_hour set q0 = q0 - (q = 0), q1 = q1 - (q = 1), q2 = q2 - (q = 2), q3 = q3 - (q = 3)
    from (select (old.opened_us % 3600000000 + 3600000000) % 3600000000 / 900000000 as q)
    where contract = old.contract and hour = old.opened_us / 3600000000 - (old.opened_us % 3600000000 < 0)
      and camera = old.camera and device = old.device and class = old.class;
    delete from event_hour
    where contract = old.contract and hour = old.opened_us / 3600000000 - (old.opened_us % 3600000000 < 0)
      and camera = old.camera and device = old.device and class = old.class
      and q0 = 0 and q1 = 0 and q2 = 0 and q3 = 0;
    delete from event_tag where contract = old.contract and event = old.id;
end;
