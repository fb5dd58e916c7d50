-- Version 2: who did what, and how long a contract runs on which terms.

-- Everything that somebody did or looked at, in order, without a gap. Each row carries a hash over itself and the hash of
-- the row before: a row that was changed, taken out or put in shows. What names a customer's person is sealed under the
-- contract's key and hashed as sealed, so that the chain still verifies when the key is gone.
create table audit (
    no          integer primary key check (no > 0),
    at_us       integer not null,
    contract    blob,                             -- whose data it was about; absent: nobody's. No reference: it outlives the row
    actor       text    not null,                 -- console, device, operator, system, user
    actor_name  text,                             -- account of the machine, device id, login ID; of a user: see `sealed`
    action      text    not null,                 -- thing and verb: contract.add, picture.view
    subject     text,                             -- id or name of what it was done to
    detail      text    not null,                 -- JSON object; nothing of it names a customer's person
    sealed      blob,                             -- JSON object of what does, under the contract's key
    hash        blob    not null check (length(hash) = 32) -- see store/audit.rs
) strict;
create index audit_by_contract on audit (contract, no); -- what was done with a contract's data

alter table contract add column until_us integer;     -- end of its period; null: none was agreed
alter table contract add column done_us integer;      -- when work for it was said to be done; null: it is not
alter table contract add column sealed_terms blob;    -- JSON of what was agreed, with names and addresses; null: the usual
