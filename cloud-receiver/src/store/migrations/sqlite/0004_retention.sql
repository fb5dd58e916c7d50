-- Version 4: pictures whose agreed time of keeping is over.

-- Where devices were before they moved: a hold on a site covers what was seen there, wherever the box is now.
create table device_was_at (
    device      blob    not null references device (id),
    site        blob    not null references site (id),
    until_us    integer not null,                 -- when it was enrolled elsewhere
    primary key (device, site)
) strict, without rowid;

alter table media add column expired_us integer; -- when its picture was deleted, as agreed: it arrived, and is awaited no more

drop index media_awaited;
create index media_awaited on media (device, batch) where arrived = 0 and expired_us is null; -- pictures that are overdue
