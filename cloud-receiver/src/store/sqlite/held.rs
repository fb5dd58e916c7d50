//! Which rows belong to a contract: what is counted, and deleted when it is erased.
//!
//! Every table of the database stands in one of the two lists; a test goes over the schema and fails for one that does not.
//! So nobody adds a table without deciding what becomes of it when a customer leaves.

use crate::store::Result;
use rusqlite::Connection;
use std::collections::BTreeMap;

/// How a row names the contract that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Contract,
    Device,
    Event,
    Site,
    Login,
    Camera,
    /// A contract's own, which are counted; and with them goes what operators were told, because it may name the contract.
    Letter,
    /// It is the contract.
    Itself,
}

impl By {
    /// With the contract's id as the first parameter.
    pub(super) fn condition(self) -> &'static str {
        match self {
            By::Contract => "contract = ?1",
            By::Device => "device in (select id from device where contract = ?1)",
            By::Event => "event in (select no from event where contract = ?1)",
            By::Site => "site in (select id from site where contract = ?1)",
            By::Login => "login_id in (select login_id from user where contract = ?1)",
            By::Camera => "camera in (select id from camera where contract = ?1)",
            By::Letter => {
                "(contract = ?1 or contract is null and kind = 'alert' and coalesce(taken_us, given_up_us) is not null)"
            }
            By::Itself => "id = ?1",
        }
    }
}

/// In the order in which they go: what others are found by goes after them.
pub(super) const HELD: &[(&str, By)] = &[
    ("subscription_event", By::Login),
    ("subscription", By::Contract),
    ("alert", By::Contract),
    ("mail", By::Letter),
    ("notice_contract", By::Contract),
    // Before the events: else each of them would be taken off its hour.
    ("event_hour", By::Contract),
    ("event_source", By::Contract),
    ("event_tag", By::Contract),
    ("place_tag", By::Contract),
    ("camera_label", By::Camera),
    ("event_batch", By::Event),
    ("media", By::Contract),
    ("event", By::Contract),
    ("event_class", By::Contract),
    ("minute_count", By::Contract),
    ("gap", By::Contract),
    ("blob", By::Contract),
    ("device_file", By::Contract),
    ("state_change", By::Device),
    ("stored_range", By::Device),
    ("rejection", By::Device),
    ("command", By::Device),
    ("boot", By::Device),
    ("record_age", By::Device),
    ("record_gone", By::Device),
    ("picture_gone", By::Contract),
    ("records_before", By::Contract),
    ("batch", By::Device),
    ("camera_state", By::Device),
    ("device_was_at", By::Device),
    ("hold", By::Contract),
    ("camera", By::Contract),
    ("claim", By::Site),
    ("session", By::Login),
    ("sign_in", By::Login),
    ("user", By::Contract),
    ("device", By::Contract),
    ("site", By::Contract),
    ("contract_key", By::Contract),
    ("contract", By::Itself),
];

/// Tables of which an erasure leaves everything, and why.
pub(super) const KEPT: &[(&str, &str)] = &[
    (
        "audit",
        "what was done stays provable; what names a person is sealed under the key that is gone",
    ),
    (
        "audit_count",
        "how often each kind of thing was done: counts of the log that stays",
    ),
    ("capacity_level", "of the receiver as a whole"),
    ("capacity_sample", "of the receiver as a whole"),
    ("control", "a counter"),
    ("erasure", "the certificate"),
    (
        "heads",
        "hashes, ids and counts, signed and sent out long ago",
    ),
    ("master_key", "the receiver's"),
    ("operator_key", "the receiver's"),
    (
        "notice",
        "the operator's words to customers, which name no person",
    ),
    ("operator", "the operator's people"),
    ("operator_session", "the operator's people"),
    ("subscription_cursor", "a counter"),
];

pub(super) fn count(connection: &Connection, contract: [u8; 16]) -> Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    for (table, by) in HELD {
        let own = match by {
            By::Letter => By::Contract,
            by => *by,
        };
        let sql = format!("select count(*) from {table} where {}", own.condition());
        let count: i64 = connection
            .prepare(&sql)?
            .query_row([contract], |row| row.get(0))?;
        counts.insert((*table).to_owned(), count.cast_unsigned());
    }
    Ok(counts)
}

/// Deletes up to so many rows of one table; how many it were.
pub(super) fn delete_some(
    connection: &Connection,
    table: &str,
    by: By,
    contract: [u8; 16],
    at_most: u32,
) -> Result<usize> {
    let key = key_of(connection, table)?;
    let sql = format!(
        "delete from {table} where ({key}) in (select {key} from {table} where {} limit ?2)",
        by.condition()
    );
    Ok(connection
        .prepare_cached(&sql)?
        .execute((contract, at_most))?)
}

/// What tells a table's rows apart: its primary key, or the row's number.
fn key_of(connection: &Connection, table: &str) -> Result<String> {
    let has_no_number: bool = connection
        .prepare_cached("select wr from pragma_table_list where name = ?1 and schema = 'main'")?
        .query_row([table], |row| row.get(0))?;
    if !has_no_number {
        return Ok("rowid".into());
    }
    let mut statement = connection
        .prepare_cached("select name from pragma_table_info(?1) where pk > 0 order by pk")?;
    let names = statement.query_map([table], |row| row.get::<_, String>(0))?;
    Ok(names.collect::<rusqlite::Result<Vec<_>>>()?.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::sqlite::schema;
    use std::collections::BTreeSet;

    #[test]
    fn every_table_has_its_place_when_a_contract_is_erased() {
        let dir = tempfile::tempdir().unwrap();
        let connection = schema::open(&dir.path().join("receiver.db")).unwrap();
        let mut statement = connection
            .prepare(
                "select name from pragma_table_list
                 where schema = 'main' and type = 'table' and name not like 'sqlite_%'",
            )
            .unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        let tables: BTreeSet<String> = rows.collect::<rusqlite::Result<_>>().unwrap();
        let listed: Vec<&str> = HELD
            .iter()
            .map(|(table, _)| *table)
            .chain(KEPT.iter().map(|(table, _)| *table))
            .collect();
        let once: BTreeSet<String> = listed.iter().map(|table| (*table).to_owned()).collect();
        assert_eq!(
            once.len(),
            listed.len(),
            "a table stands in the lists twice"
        );
        assert_eq!(
            tables, once,
            "each table stands in HELD or in KEPT: what becomes of it when a contract is erased?"
        );
        // Each condition is one that the table can answer.
        count(&connection, [0; 16]).unwrap();
        for (table, by) in HELD {
            delete_some(&connection, table, *by, [0; 16], 1).unwrap();
        }
    }
}
