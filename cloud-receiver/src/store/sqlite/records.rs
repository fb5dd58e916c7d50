//! Records whose agreed time is over: which batches may go, and what goes with them.
//!
//! A batch goes whole or not at all: so what is shown is what can be proven, and what is signed is what is shown. It goes
//! when all that it holds may. An event goes with the batch of its highest revision, after all others that speak of it.

use super::audit::append;
use super::{SqliteStore, hash_at, id16};
use crate::store::retention::{RecordBook, RecordsGone, RetentionReads};
use crate::store::{ContractScope, Note, Result};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use wire::{ContractId, DeviceId, Sha256, UtcMicros};

/// What is kept is looked at again after this: once a day, by a job that looks every hour.
const PUT_OFF_US: i64 = 23 * 3600 * 1_000_000;
/// Batches looked at before a commit; most that are kept were put off before.
const LOOKED_AT_ONCE: u32 = 200;

/// Says when a new batch is to be looked at.
pub(super) fn note_age(
    connection: &Connection,
    device: DeviceId,
    batch: i64,
    look_us: i64,
) -> Result<()> {
    connection
        .prepare_cached("insert into record_age (device, look_us, batch) values (?1, ?2, ?3)")?
        .execute((id16(device.0), look_us, batch))?;
    Ok(())
}

/// A batch whose time may be over.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    device: [u8; 16],
    look_us: i64,
    batch: i64,
}

pub(super) const CANDIDATES: &str = "select a.device, a.look_us, a.batch
     from device d cross join record_age a on a.device = d.id
     where d.contract = ?1 and a.look_us < ?2 limit ?3";

fn candidates(
    connection: &Connection,
    contract: ContractId,
    cutoff: UtcMicros,
) -> Result<Vec<Candidate>> {
    let mut statement = connection.prepare_cached(CANDIDATES)?;
    let rows = statement.query_map((id16(contract.0), cutoff.0, LOOKED_AT_ONCE), |row| {
        Ok(Candidate {
            device: row.get(0)?,
            look_us: row.get(1)?,
            batch: row.get(2)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The batch ?1 as the conditions below see it, with what its rows say of the clock. ?2 is the cutoff.
const BATCH: &str = "
    with b as materialized (
        select b.no, b.device, b.epoch, b.first_seq, b.last_seq, b.received_us, b.from_device_us, b.to_device_us,
               d.contract, d.site
        from batch b join device d on d.id = b.device where b.no = ?1),
    said as materialized (
        select e.id, e.no, e.camera, e.device, e.opened_us, max(e.last_seen_us, ifnull(e.closed_us, e.last_seen_us)) as ended_us,
               e.closed_us, e.synced, e.batch
        from b cross join event e on e.contract = b.contract and e.id in (
            select r.event from record r where r.batch = ?1 and r.event is not null)),
    clock as materialized (
        select ifnull(min(synced), 0) as synced from (
            select s.synced from b cross join state_change s on s.device = b.device and s.epoch = b.epoch
                and s.seq between b.first_seq and b.last_seq
            union all select g.synced from b cross join gap g on g.device = b.device and g.epoch = b.epoch
                and g.seq between b.first_seq and b.last_seq
            union all select m.synced from b cross join media m on m.device = b.device and m.epoch = b.epoch
                and m.seq between b.first_seq and b.last_seq
            union all select synced from said where batch = ?1
            union all select c.synced from b cross join record r on r.batch = b.no and r.kind = 'count'
                cross join minute_count c on c.contract = b.contract and c.camera = r.camera
                    and c.minute_us between r.captured_device_us - 3600000000 and r.captured_device_us + 3600000000
                    and c.device = b.device and c.epoch = b.epoch and c.seq = r.seq))
";

/// What keeps it, each a condition of its own. A time that is a guess counts from the arrival. Holds take what may be covered
/// for covered: a clock is allowed to be off by an hour, and of a time that is a guess only the arrival is believed.
const KEPT: &[&str] = &[
    // Too young.
    "exists (select 1 from b, clock where not (b.received_us < ?2 or clock.synced and b.to_device_us < ?2))",
    // Held, by camera, place and time.
    "exists (select 1 from b, clock cross join hold h on h.contract = b.contract
        where (h.camera is null or exists (select 1 from record r where r.batch = b.no and r.camera = h.camera))
          and (h.site is null or h.site = b.site
               or exists (select 1 from device_was_at w where w.device = b.device and w.site = h.site
                          and (not clock.synced or b.from_device_us < w.until_us)))
          and (h.from_us is null
               or iif(clock.synced, b.to_device_us, b.received_us) + 3600000000 >= h.from_us)
          and (h.to_us is null or not clock.synced or b.from_device_us - 3600000000 < h.to_us))",
    // Pictures that are here, or too young.
    "exists (select 1 from b cross join media m on m.device = b.device and m.epoch = b.epoch
                and m.seq between b.first_seq and b.last_seq
        where m.arrived = 1 or iif(m.synced, m.captured_us, max(m.captured_us, b.received_us)) >= ?2)",
    // Events that are open, too young or held, or have a picture that is here. One whose device started anew is not open.
    "exists (select 1 from said e
        where e.ended_us >= ?2
           or not e.synced and (select received_us from batch where no = e.batch) >= ?2
           or e.closed_us is null and not exists (
                select 1 from state_change c where c.device = e.device and c.camera is null and c.state = 'started'
                and c.at_us > e.ended_us)
           or exists (select 1 from b cross join media m on m.contract = b.contract and m.event = e.id and m.arrived = 1)
           or exists (select 1 from b cross join hold h on h.contract = b.contract
                where (h.camera is null or h.camera = e.camera)
                  and (h.site is null or h.site = b.site
                       or exists (select 1 from device_was_at w where w.device = b.device and w.site = h.site
                                  and e.opened_us < w.until_us))
                  and (h.from_us is null or e.ended_us >= h.from_us)
                  and (h.to_us is null or e.opened_us < h.to_us)))",
    // It says what an event is that other batches speak of, too: these go first.
    "exists (select 1 from said e join event_batch o on o.event = e.no
        where e.batch = ?1 and o.batch <> ?1)",
    // Losses that explain why a picture is still awaited.
    "exists (select 1 from b cross join gap g on g.device = b.device and g.epoch = b.epoch
                and g.seq between b.first_seq and b.last_seq
        where iif(g.synced, g.to_us, max(g.to_us, b.received_us)) >= ?2
           or exists (select 1 from media m where m.device = g.device and m.arrived = 0 and m.expired_us is null
                and m.camera = g.camera and m.batch <> ?1
                and m.captured_device_us between g.from_device_us and g.to_device_us))",
    // What a camera's or the agent's state was when the time that is kept began.
    "exists (select 1 from b cross join state_change s on s.device = b.device and s.epoch = b.epoch
                and s.seq between b.first_seq and b.last_seq
        where iif(s.synced, s.at_us, max(s.at_us, b.received_us)) >= ?2
           or s.camera is not null and not exists (select 1 from state_change n
                where n.camera = s.camera and n.at_us > s.at_us and n.at_us < ?2)
           or s.camera is null and not exists (select 1 from state_change n
                where n.device = s.device and n.camera is null and n.state = s.state
                and n.at_us > s.at_us and n.at_us < ?2))",
];

/// Whether nothing of the batch is kept.
pub(super) fn may_go_sql() -> String {
    format!(
        "{BATCH} select exists (select 1 from b) and not ({})",
        KEPT.join("\n or ")
    )
}

fn may_go(connection: &Connection, batch: i64, cutoff: UtcMicros) -> Result<bool> {
    thread_local! {
        static SQL: String = may_go_sql();
    }
    SQL.with(|sql| {
        Ok(connection
            .prepare_cached(sql)?
            .query_row((batch, cutoff.0), |row| row.get(0))?)
    })
}

/// Takes the records out of a batch, and every row that was made of them. In this order: what others are found by goes last.
pub(super) const GO: &[&str] = &[
    // What the balance counts.
    "insert into record_gone
     select device, (at_us - ((at_us % 3600000000) + 3600000000) % 3600000000) / 3600000000, camera, class, reason, sum(number)
     from (
        select device, captured_device_us as at_us, ifnull(camera, x'') as camera, kind as class, '' as reason, 1 as number
        from record where batch = ?1
        union all select m.device, m.captured_device_us, m.camera, m.class, '', 1
        from batch b join media m on m.device = b.device and m.epoch = b.epoch and m.seq between b.first_seq and b.last_seq
        where b.no = ?1 and m.expired_us is not null
        union all select g.device, g.from_device_us, ifnull(g.camera, x''), g.class, g.reason, g.count
        from batch b join gap g on g.device = b.device and g.epoch = b.epoch and g.seq between b.first_seq and b.last_seq
        where b.no = ?1)
     where true group by 1, 2, 3, 4, 5
     on conflict do update set number = number + excluded.number",
    "insert or ignore into picture_gone
        select m.contract, m.sha256
        from batch b join media m on m.device = b.device and m.epoch = b.epoch and m.seq between b.first_seq and b.last_seq
        where b.no = ?1 and m.arrived = 0 and m.expired_us is null",
    "delete from media where no in (select m.no
        from batch b join media m on m.device = b.device and m.epoch = b.epoch and m.seq between b.first_seq and b.last_seq
        where b.no = ?1)",
    "delete from gap where (device, epoch, seq) in (select g.device, g.epoch, g.seq
        from batch b join gap g on g.device = b.device and g.epoch = b.epoch and g.seq between b.first_seq and b.last_seq
        where b.no = ?1)",
    "delete from camera_state where (camera, boot) in (select k.camera, k.boot
        from batch b join state_change s on s.device = b.device and s.epoch = b.epoch and s.seq between b.first_seq and b.last_seq
        join camera_state k on k.camera = s.camera and k.boot = s.boot
        where b.no = ?1 and k.device = s.device and k.epoch = s.epoch and k.seq = s.seq)",
    "delete from state_change where (device, epoch, seq) in (select s.device, s.epoch, s.seq
        from batch b join state_change s on s.device = b.device and s.epoch = b.epoch and s.seq between b.first_seq and b.last_seq
        where b.no = ?1)",
    "delete from subscription_event where (login_id, event) in (select u.login_id, e.no
        from batch b join device d on d.id = b.device
        cross join event e on e.contract = d.contract and e.id in (
            select r.event from record r where r.batch = ?1 and r.kind = 'event') and e.batch = b.no
        join subscription u on u.contract = d.contract
        where b.no = ?1)",
    "delete from event_batch where batch = ?1 and event in (select e.no
        from batch b join device d on d.id = b.device
        cross join event e on e.contract = d.contract and e.id in (
            select r.event from record r where r.batch = ?1 and r.kind = 'event')
        where b.no = ?1)",
    "delete from event where no in (select e.no
        from batch b join device d on d.id = b.device
        cross join event e on e.contract = d.contract and e.id in (
            select r.event from record r where r.batch = ?1 and r.kind = 'event') and e.batch = b.no
        where b.no = ?1)",
    "update batch set sealed = x'', records = '[]' where no = ?1",
];

fn go(connection: &Connection, candidate: &Candidate) -> Result<u64> {
    let records: i64 = connection
        .prepare_cached("select count(*) from record where batch = ?1")?
        .query_row([candidate.batch], |row| row.get(0))?;
    for sql in GO {
        connection.prepare_cached(sql)?.execute([candidate.batch])?;
    }
    forget(connection, candidate)?;
    Ok(records.cast_unsigned())
}

fn forget(connection: &Connection, candidate: &Candidate) -> Result<()> {
    connection
        .prepare_cached("delete from record_age where device = ?1 and look_us = ?2 and batch = ?3")?
        .execute((candidate.device, candidate.look_us, candidate.batch))?;
    Ok(())
}

fn put_off(connection: &Connection, candidate: &Candidate, cutoff: UtcMicros) -> Result<()> {
    forget(connection, candidate)?;
    connection
        .prepare_cached(
            "insert or ignore into record_age (device, look_us, batch) values (?1, ?2, ?3)",
        )?
        .execute((
            candidate.device,
            cutoff.plus_us(PUT_OFF_US).0,
            candidate.batch,
        ))?;
    Ok(())
}

/// Pages say of the time before the cutoff that it is not whole any more.
fn tell_before(connection: &Connection, contract: ContractId, cutoff: UtcMicros) -> Result<()> {
    connection
        .prepare_cached(
            "insert into records_before (contract, before_us) values (?1, ?2)
             on conflict do update set before_us = max(before_us, excluded.before_us)",
        )?
        .execute((id16(contract.0), cutoff.0))?;
    // Numbers of the newest events are given out again: nobody must take those for told.
    connection
        .prepare_cached(
            "update subscription_cursor set event = min(event, (select coalesce(max(no), 0) from event))",
        )?
        .execute([])?;
    Ok(())
}

fn settle(
    connection: &Connection,
    contract: ContractId,
    cutoff: UtcMicros,
    looked: &[(Candidate, bool)],
) -> Result<RecordsGone> {
    let mut gone = RecordsGone {
        looked_at: looked.len() as u64,
        ..RecordsGone::default()
    };
    for (candidate, found) in looked {
        // Looked at again: a hold or a picture may have come, and what waits for another batch of its event may go now.
        if (*found || gone.batches > 0) && may_go(connection, candidate.batch, cutoff)? {
            gone.records += go(connection, candidate)?;
            gone.batches += 1;
        } else {
            put_off(connection, candidate, cutoff)?;
        }
    }
    if gone.batches > 0 {
        tell_before(connection, contract, cutoff)?;
    }
    Ok(gone)
}

/// Rows that go by their own age: how they are counted, which they are, and what is done to them.
pub(super) struct Beside {
    kind: &'static str,
    /// Their keys; ?1 is the contract, ?2 the cutoff.
    find: &'static str,
    go: &'static str,
}

impl Beside {
    pub(super) fn is_any(&self) -> String {
        format!("select exists ({})", self.find)
    }

    /// ?3: how many at most.
    pub(super) fn go(&self) -> String {
        format!("{} in ({} limit ?3)", self.go, self.find)
    }
}

const LATE_PICTURES: &str = "late_pictures";

pub(super) static BESIDE: [Beside; 4] = [
    // By themselves: there are too many to find them by their batch.
    Beside {
        kind: "counts",
        go: "delete from minute_count where (contract, camera, minute_us, device, epoch, seq)",
        find: "select c.contract, c.camera, c.minute_us, c.device, c.epoch, c.seq
            from camera k cross join minute_count c on c.contract = k.contract and c.camera = k.id
            where k.contract = ?1 and c.minute_us < ?2
              and not exists (select 1 from hold h where h.contract = ?1 and h.site is null and h.from_us is null
                    and h.to_us is null and (h.camera is null or h.camera = k.id))
              and (c.synced or ifnull((select received_us from batch b where b.device = c.device and b.epoch = c.epoch
                    and b.first_seq <= c.seq order by b.first_seq desc limit 1), 0) < ?2)
              and not exists (select 1 from hold h where h.contract = ?1
                    and (h.camera is null or h.camera = c.camera)
                    and (h.site is null or h.site = (select site from device d where d.id = c.device)
                        or exists (select 1 from device_was_at w where w.device = c.device and w.site = h.site
                            and c.minute_us < w.until_us))
                    and (h.from_us is null or c.minute_us + 60000000 > h.from_us)
                    and (h.to_us is null or c.minute_us < h.to_us))",
    },
    // What devices said to commands. That one was given and what came of it stays.
    Beside {
        kind: "answers",
        go: "update command set sealed_detail = null where id",
        find: "select c.id from device d cross join command c indexed by command_told on c.device = d.id
            where d.contract = ?1 and c.answered_us < ?2 and c.sealed_detail is not null
              and not exists (select 1 from hold h where h.contract = ?1 and h.camera is null
                    and (h.site is null or h.site = d.site
                        or exists (select 1 from device_was_at w where w.device = d.id and w.site = h.site))
                    and (h.from_us is null or c.answered_us >= h.from_us)
                    and (h.to_us is null or c.issued_us < h.to_us))",
    },
    // That told of events, once they were sent or given up. A hold that may cover one of them covers all.
    Beside {
        kind: "letters",
        go: "delete from mail where no",
        find: "select m.no from mail m indexed by mail_of_events
            where m.contract = ?1 and m.kind = 'event' and m.created_us < ?2
              and coalesce(m.taken_us, m.given_up_us) is not null
              and not exists (select 1 from hold h where h.contract = ?1
                    and (h.from_us is null or m.created_us >= h.from_us))",
    },
    // Pictures that came after the record that names them had gone, and that nothing else names. Their files go afterwards.
    Beside {
        kind: LATE_PICTURES,
        go: "delete from blob where (contract, sha256)",
        find: "select g.contract, g.sha256
            from picture_gone g cross join blob b on b.contract = g.contract and b.sha256 = g.sha256
            where g.contract = ?1 and ?2 is not null
              and not exists (select 1 from media m where m.contract = ?1 and m.sha256 = g.sha256)
              and not exists (select 1 from device_file f where f.contract = ?1 and f.sha256 = g.sha256)",
    },
];

/// What of it there is at all; looked for beside the writer.
fn kinds_beside(
    connection: &Connection,
    contract: ContractId,
    cutoff: UtcMicros,
) -> Result<Vec<&'static Beside>> {
    let mut kinds = Vec::new();
    for beside in &BESIDE {
        let is_any: bool = connection
            .prepare_cached(&beside.is_any())?
            .query_row((id16(contract.0), cutoff.0), |row| row.get(0))?;
        if is_any {
            kinds.push(beside);
        }
    }
    Ok(kinds)
}

/// How many went, and which files are to go after the commit.
fn go_beside(
    connection: &Connection,
    beside: &Beside,
    contract: ContractId,
    cutoff: UtcMicros,
    at_most: u32,
) -> Result<(u64, Vec<Sha256>)> {
    let key = (id16(contract.0), cutoff.0, at_most);
    if beside.kind != LATE_PICTURES {
        let gone = connection.prepare_cached(&beside.go())?.execute(key)?;
        return Ok((gone as u64, Vec::new()));
    }
    let sql = format!("{} returning sha256", beside.go());
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(key, |row| hash_at(row, 0))?;
    let files: Vec<Sha256> = rows.collect::<rusqlite::Result<_>>()?;
    Ok((files.len() as u64, files))
}

#[async_trait]
impl RecordBook for SqliteStore {
    async fn expire_records(
        &self,
        contract: ContractId,
        cutoff: UtcMicros,
        at_most: u32,
        at: UtcMicros,
    ) -> Result<RecordsGone> {
        let look = move |connection: &Connection| {
            let (mut looked, mut found) = (Vec::new(), 0);
            for candidate in candidates(connection, contract, cutoff)? {
                let goes = may_go(connection, candidate.batch, cutoff)?;
                looked.push((candidate, goes));
                found += u32::from(goes);
                if found == at_most {
                    break;
                }
            }
            Ok(looked)
        };
        // Looked for beside the writer: it may take a while.
        let looked = self.read(look).await?;
        if looked.is_empty() {
            return Ok(RecordsGone::default());
        }
        let mut note = self
            .sealed(Note::new("retention.delete").of(contract))
            .await?;
        self.write(move |connection| {
            let gone = settle(connection, contract, cutoff, &looked)?;
            if gone.batches > 0 {
                note.add("records", gone.records);
                note.add("batches", gone.batches);
                append(connection, &note, at)?;
            }
            Ok(gone)
        })
        .await
    }

    async fn expire_beside(
        &self,
        contract: ContractId,
        cutoff: UtcMicros,
        at_most: u32,
        at: UtcMicros,
    ) -> Result<(u64, Vec<Sha256>)> {
        let kinds = self
            .read(move |connection| kinds_beside(connection, contract, cutoff))
            .await?;
        if kinds.is_empty() {
            return Ok((0, Vec::new()));
        }
        let mut note = self
            .sealed(Note::new("retention.delete").of(contract))
            .await?;
        self.write(move |connection| {
            let (mut rows, mut files) = (0, Vec::new());
            for beside in kinds {
                let (gone, late) = go_beside(connection, beside, contract, cutoff, at_most)?;
                if gone > 0 {
                    note.add(beside.kind, gone);
                }
                rows += gone;
                files.extend(late);
            }
            if rows > 0 {
                tell_before(connection, contract, cutoff)?;
                append(connection, &note, at)?;
            }
            Ok((rows, files))
        })
        .await
    }
}

#[async_trait]
impl RetentionReads for SqliteStore {
    async fn records_before(&self, scope: ContractScope) -> Result<Option<UtcMicros>> {
        self.read(move |connection| {
            let before: Option<i64> = connection
                .prepare_cached("select before_us from records_before where contract = ?1")?
                .query_row(params![id16(scope.contract().0)], |row| row.get(0))
                .optional()?;
            Ok(before.map(UtcMicros))
        })
        .await
    }
}
