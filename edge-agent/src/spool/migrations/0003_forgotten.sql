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

-- `how` may be 'forgotten' from now on, so the table is made anew.
create temporary table ended_before as select * from ended;

drop table ended;

-- Which record numbers are no longer pending, and what became of them: neighbours with the same end share a row, so
-- there are few. With `batch` this covers every number of an epoch; a number in neither is a defect, and has a name.
create table ended (
    epoch     blob not null check (length(epoch) = 8),   -- big-endian
    first_seq integer not null check (first_seq >= 1),
    last_seq  integer not null check (last_seq >= first_seq),
    how       text not null check (how in ('settled', 'shed', 'parked', 'forgotten')), -- forgotten: one of the three
    primary key (epoch, first_seq)
) strict, without rowid;

insert into ended select * from ended_before;

drop table ended_before;
