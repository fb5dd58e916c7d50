-- Version 4: pictures whose agreed time of keeping is over.

alter table media add column expired_us integer; -- when its picture was deleted, as agreed: it arrived, and is awaited no more

drop index media_awaited;
create index media_awaited on media (device, batch) where arrived = 0 and expired_us is null; -- pictures that are overdue
