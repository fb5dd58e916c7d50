//! How many pictures are held of a time, and how large they are together.

use super::super::id16;
use super::search;
use crate::store::{ContractScope, EventFilter, Result, Stock};
use rusqlite::Connection;
use wire::UtcMicros;

pub(super) fn read(
    connection: &Connection,
    scope: ContractScope,
    filter: &EventFilter,
    edges: &[UtcMicros],
) -> Result<Vec<Stock>> {
    let contract = id16(scope.contract().0);
    let places = search::places(connection, scope, filter)?;
    let mut cameras =
        connection.prepare_cached("select id from camera where contract = ?1 order by id")?;
    let cameras: Vec<[u8; 16]> = cameras
        .query_map([contract], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut sum = connection.prepare_cached(
        "select count(*), coalesce(sum(bytes), 0) from media indexed by media_by_camera
         where contract = ?1 and camera = ?2 and arrived = 1 and captured_us >= ?3 and captured_us < ?4",
    )?;
    let mut all = Vec::with_capacity(edges.len().saturating_sub(1));
    for part in edges.windows(2) {
        let mut stock = Stock::default();
        let is_asked =
            |camera: &&[u8; 16]| places.cameras.as_ref().is_none_or(|a| a.contains(*camera));
        for camera in cameras.iter().filter(is_asked) {
            let values = (contract, camera, part[0].0, part[1].0);
            let (pictures, bytes): (i64, i64) =
                sum.query_row(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
            stock.pictures += pictures.cast_unsigned();
            stock.bytes += bytes.cast_unsigned();
        }
        all.push(stock);
    }
    Ok(all)
}
