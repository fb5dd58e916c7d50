-- Version 8: how full the receiver is, over time.

-- Once an hour. What the forecast is made from.
create table capacity_sample (
    at_us          integer primary key,
    database_bytes integer not null,
    objects_bytes  integer not null,              -- pictures and clips, sealed
    free_bytes     integer not null,              -- of the disk below the data folder, as the receiver may use it
    total_bytes    integer not null,
    records        integer not null               -- held then
) strict;

-- One row: what the operator was last told of.
create table capacity_level (
    one      integer primary key check (one = 1),
    level    text    not null,                    -- fine, soon, urgent, full
    since_us integer not null
) strict;
insert into capacity_level values (1, 'fine', 0);
