-- Version 6: what the portal counts, filters and names by. All of it stands in clear, because it is searched and sorted by:
-- tags and names are chosen by the operator, as names of sites are.

-- How many events opened in an hour, in its four quarters: what charts, the day's strip and the search for rare classes read.
-- Kept exact in the transaction that changes an event: see sqlite/hours.rs. The hour counts from 1970 in UTC; quarters,
-- because there are time zones of half and three quarters of an hour.
create table event_hour (
    contract    blob    not null,
    hour        integer not null,
    camera      blob    not null,
    device      blob    not null,                 -- whose site the events are of
    class       text    not null,
    q0          integer not null,
    q1          integer not null,
    q2          integer not null,
    q3          integer not null,
    primary key (contract, hour, camera, device, class)
) strict, without rowid;
-- Written once an hour, camera and class, not with every event: so a rare class is found without an index on events.
create index event_hour_by_class on event_hour (contract, class, hour);

-- Which device has told of events of which camera: a site's cameras, without reading events.
create table event_source (
    contract    blob    not null,
    device      blob    not null,
    camera      blob    not null,
    primary key (contract, device, camera)
) strict, without rowid;

insert into event_hour
    select contract, opened_us / 3600000000 - (opened_us % 3600000000 < 0), camera, device, class,
           sum(q = 0), sum(q = 1), sum(q = 2), sum(q = 3)
    from (select contract, opened_us, camera, device, class,
                 (opened_us % 3600000000 + 3600000000) % 3600000000 / 900000000 as q from event)
    group by 1, 2, 3, 4, 5;
insert into event_source select distinct contract, device, camera from event_hour;

-- Tags of sites and cameras.
create table place_tag (
    contract    blob    not null references contract (id),
    tag         text    not null,
    kind        text    not null check (kind in ('site', 'camera')),
    place       blob    not null check (length(place) = 16),
    primary key (contract, tag, kind, place)
) strict, without rowid;

-- Tags of events, in the order of the timeline. The time is the event's, and moves with it.
create table event_tag (
    contract    blob    not null references contract (id),
    tag         text    not null,
    opened_us   integer not null,
    event       blob    not null check (length(event) = 16),
    primary key (contract, tag, opened_us, event)
) strict, without rowid;
create index event_tag_by_event on event_tag (contract, event);

-- What the operator calls a camera; without a row, what its device calls it.
create table camera_label (
    camera      blob    primary key references camera (id),
    name        text    not null
) strict, without rowid;

drop view camera_now;
-- Cameras as they are now: the latest statement over all boots, under the operator's name for them.
create view camera_now as
    select k.id, k.contract, coalesce(s.device, k.device) as device, coalesce(l.name, s.name, '') as name,
           coalesce(s.state, 'starting') as state, s.reason, coalesce(s.state_us, k.first_us) as state_us
    from camera k left join camera_label l on l.camera = k.id
    left join camera_state s on s.camera = k.id and s.boot = (
        select boot from camera_state where camera = k.id
        order by state_us desc, epoch desc, seq desc limit 1);

-- An event that is deleted, by whomever, is counted no more and carries no tag.
create trigger event_gone after delete on event begin
    update event_hour set q0 = q0 - (q = 0), q1 = q1 - (q = 1), q2 = q2 - (q = 2), q3 = q3 - (q = 3)
    from (select (old.opened_us % 3600000000 + 3600000000) % 3600000000 / 900000000 as q)
    where contract = old.contract and hour = old.opened_us / 3600000000 - (old.opened_us % 3600000000 < 0)
      and camera = old.camera and device = old.device and class = old.class;
    delete from event_tag where contract = old.contract and event = old.id;
end;
