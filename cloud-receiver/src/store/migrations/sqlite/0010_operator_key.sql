-- The key of what is operators' own and secret: their second factors.

-- One row. Wrapped under the master key like a contract's: so a change of the master key leaves what it seals as it is, and
-- a receiver that runs meanwhile goes on reading it.
create table operator_key (
    one     integer primary key check (one = 1),
    wrapped blob    not null                      -- 32 key bytes sealed under the master key
) strict;
