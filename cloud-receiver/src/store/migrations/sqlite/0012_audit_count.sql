-- How often each thing was done with a contract's data, and when last: the Security page says so at every view, and the log only
-- grows. Kept by the log itself, in the commit of each entry; also while a backup is put back.

create table audit_count (
    contract    blob    not null,
    action      text    not null,
    count       integer not null check (count > 0),
    last_us     integer not null,
    primary key (contract, action)
) strict, without rowid;

insert into audit_count (contract, action, count, last_us)
    select contract, action, count(*), max(at_us) from audit where contract is not null group by contract, action;

create trigger audit_counted after insert on audit when new.contract is not null
begin
    insert into audit_count (contract, action, count, last_us) values (new.contract, new.action, 1, new.at_us)
    on conflict (contract, action) do update set count = count + 1, last_us = max(last_us, excluded.last_us);
end;
