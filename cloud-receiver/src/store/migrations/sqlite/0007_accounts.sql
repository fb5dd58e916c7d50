-- Version 7: a second factor for whoever signs in.

-- The sealed column holds the secret and the hashes of the recovery codes that are left, as JSON: a user's under the key of
-- the contract, an operator's under the master key. It is there from when somebody begins to set the factor up; it counts
-- from `second_factor_us` on. Of the one-time codes of 30 seconds each, those up to `second_factor_step` are used up.
alter table user add column second_factor blob;
alter table user add column second_factor_us integer;
alter table user add column second_factor_step integer not null default 0;
alter table operator add column second_factor blob;
alter table operator add column second_factor_us integer;
alter table operator add column second_factor_step integer not null default 0;

-- When the second factor was shown; null: the password alone, which opens nothing where a factor is set up or required.
alter table session add column proven_us integer;
alter table operator_session add column proven_us integer;

create index audit_by_action on audit (action, no); -- what was done of one kind
