//! Finds rows in the pages of a database file without its trees (format: sqlite.org/fileformat2.html, "B-tree Pages").
//!
//! One damaged page near the root, or in the schema, hides everything below it from SQLite, though the rows
//! themselves are whole. They are found by looking at every page that has the form of a leaf. What is found may be
//! old: a page that was freed still holds what it held. Whoever asks has to know what is genuine.

use rusqlite::types::Value;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const PAGE_BYTES: usize = 4096;
/// First byte of a leaf page of a table.
const TABLE_LEAF: u8 = 0x0d;
/// Larger rows are none of ours.
const MAX_ROW_BYTES: usize = 1 << 20;

/// Calls `each` with number and columns of every row of `columns` columns that can be found.
pub(super) fn for_each_row(
    database: &Path,
    columns: usize,
    mut each: impl FnMut(i64, Vec<Value>),
) -> io::Result<()> {
    let file = File::open(database)?;
    let pages = file.metadata()?.len() / PAGE_BYTES as u64;
    let mut page = vec![0; PAGE_BYTES];
    for number in 0..pages {
        if file
            .read_exact_at(&mut page, number * PAGE_BYTES as u64)
            .is_err()
        {
            continue;
        }
        // The first page begins with the file's own header.
        let at = if number == 0 { 100 } else { 0 };
        if page[at] != TABLE_LEAF {
            continue;
        }
        let cells = usize::from(u16::from_be_bytes([page[at + 3], page[at + 4]]));
        for cell in 0..cells.min(PAGE_BYTES / 4) {
            if let Some((id, row)) = cell_of(&file, &page, at + 8 + 2 * cell)
                .and_then(|(id, payload)| Some((id, record(&payload, columns)?)))
            {
                each(id, row);
            }
        }
    }
    Ok(())
}

/// Row number and payload of the cell that the pointer at `pointer` leads to.
fn cell_of(file: &File, page: &[u8], pointer: usize) -> Option<(i64, Vec<u8>)> {
    let pointer = page.get(pointer..pointer + 2)?;
    let mut at = usize::from(u16::from_be_bytes([pointer[0], pointer[1]]));
    let len = usize::try_from(varint(page, &mut at)?).ok()?;
    let id = varint(page, &mut at)?.cast_signed();
    if len > MAX_ROW_BYTES {
        return None;
    }
    // How much of a row stays on its page: section "Cell Payload Overflow Pages".
    let most = PAGE_BYTES - 35;
    let least = (PAGE_BYTES - 12) * 32 / 255 - 23;
    if len <= most {
        return Some((id, page.get(at..at + len)?.to_vec()));
    }
    let fitting = least + (len - least) % (PAGE_BYTES - 4);
    let local = if fitting <= most { fitting } else { least };
    let mut payload = page.get(at..at + local)?.to_vec();
    let next = page.get(at + local..at + local + 4)?;
    let mut next = u32::from_be_bytes([next[0], next[1], next[2], next[3]]);
    let mut overflow = vec![0; PAGE_BYTES];
    while payload.len() < len {
        let place = u64::from(next.checked_sub(1)?) * PAGE_BYTES as u64;
        file.read_exact_at(&mut overflow, place).ok()?;
        next = u32::from_be_bytes([overflow[0], overflow[1], overflow[2], overflow[3]]);
        let step = (len - payload.len()).min(PAGE_BYTES - 4);
        payload.extend_from_slice(&overflow[4..4 + step]);
    }
    Some((id, payload))
}

/// The columns of a row, if there are as many as asked for: section "Record Format".
fn record(payload: &[u8], columns: usize) -> Option<Vec<Value>> {
    let mut head = 0;
    let header_len = usize::try_from(varint(payload, &mut head)?).ok()?;
    let mut body = header_len;
    let mut values = Vec::with_capacity(columns);
    while head < header_len {
        let kind = varint(payload, &mut head)?;
        let len = match kind {
            0 | 8 | 9 => 0,
            1..=4 => usize::try_from(kind).ok()?,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            kind => usize::try_from((kind - 12) / 2).ok()?,
        };
        let bytes = payload.get(body..body.checked_add(len)?)?;
        body += len;
        values.push(match kind {
            0 => Value::Null,
            8 => Value::Integer(0),
            9 => Value::Integer(1),
            1..=6 => Value::Integer(integer(bytes)),
            7 => Value::Real(f64::from_be_bytes(bytes.try_into().ok()?)),
            kind if kind % 2 == 0 => Value::Blob(bytes.to_vec()),
            _ => Value::Text(String::from_utf8(bytes.to_vec()).ok()?),
        });
        if values.len() > columns {
            return None;
        }
    }
    (values.len() == columns && body == payload.len()).then_some(values)
}

/// Big-endian, of any length up to eight bytes.
fn integer(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let start = if negative { -1 } else { 0 };
    bytes
        .iter()
        .fold(start, |value, byte| (value << 8) | i64::from(*byte))
}

/// One to nine bytes, seven bits each, eight in the last.
fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for place in 0..9 {
        let byte = *bytes.get(*at)?;
        *at += 1;
        if place == 8 {
            return Some((value << 8) | u64::from(byte));
        }
        value = (value << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_without_schema_or_root() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("db");
        let connection = rusqlite::Connection::open(&path).expect("opens");
        connection
            .execute_batch("create table t (id integer primary key, n integer, s text, b blob)")
            .expect("creates");
        let large = vec![7u8; 20_000];
        for n in [-300_i64, 0, 1, 5_000_000_000] {
            connection
                .execute("insert into t (n, s, b) values (?1, 'ü', ?2)", (n, &large))
                .expect("inserts");
        }
        drop(connection);
        // The schema is gone.
        let mut bytes = std::fs::read(&path).expect("read");
        bytes[100..4096].fill(0);
        std::fs::write(&path, bytes).expect("written");
        let mut found = Vec::new();
        for_each_row(&path, 4, |id, row| found.push((id, row))).expect("read");
        let numbers: Vec<_> = found
            .iter()
            .map(|(id, row)| (*id, row[1].clone()))
            .collect();
        let expected = [(1, -300), (2, 0), (3, 1), (4, 5_000_000_000)];
        assert_eq!(numbers, expected.map(|(id, n)| (id, Value::Integer(n))));
        assert!(found.iter().all(|(_, row)| row[0] == Value::Null
            && row[2] == Value::Text("ü".into())
            && row[3] == Value::Blob(large.clone())));
    }
}
