-- Events that were told and have not ended, each as its newest accepted record says. What stands here at a start was cut
-- off by a crash: the agent then ends it. Changed only in the transaction that accepts the record.
create table open_event (
    event  blob primary key check (length(event) = 16), -- UUID
    told   integer not null unique,                     -- order of telling: beyond a bound the longest untold goes
    sealed blob not null check (length(sealed) > 28)    -- the record's JSON
) strict, without rowid;
