-- Version 9: logs and support bundles of devices, as operators asked for them.

-- What a device's answer to a command named as its file. The bytes are a blob like any other, sealed under the contract's key.
create table device_file (
    device             blob    not null references device (id),
    command            blob    not null,
    contract           blob    not null,
    request            text    not null,          -- log_excerpt, support_bundle
    sha256             blob    not null check (length(sha256) = 32),
    bytes              integer not null,
    content_type       text    not null,
    captured_device_us integer not null,          -- by the device's clock, as its own books count it
    received_us        integer not null,          -- when the answer came
    expired_us         integer,                   -- when it was deleted because its time was over
    primary key (device, command)
) strict, without rowid;
create index device_file_by_age on device_file (contract, received_us);   -- what may go
