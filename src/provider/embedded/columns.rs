//! Values as SQLite stores them and as the authentication codes see them. What a column has, may come from anybody.

use rusqlite::Row;
use rusqlite::types::FromSql;

use crate::clock::UnixTime;
use crate::provider::embedded::error::{Damage, Fault};

/// SQLite's integers have a sign.
pub(super) fn stored(number: u64) -> Result<i64, Fault> {
    i64::try_from(number).map_err(|_| Damage::Value.into())
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> Result<u64, Fault> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| Damage::Value.into())
}

pub(super) fn time(row: &Row<'_>, column: usize) -> Result<Option<UnixTime>, Fault> {
    match row.get::<_, Option<i64>>(column)? {
        Some(seconds) => {
            u64::try_from(seconds).map(|seconds| Some(UnixTime(seconds))).map_err(|_| Damage::Value.into())
        }
        None => Ok(None),
    }
}

pub(super) fn array<const N: usize>(row: &Row<'_>, column: usize) -> Result<[u8; N], Fault>
where
    [u8; N]: FromSql,
{
    Ok(row.get(column)?)
}

pub(super) fn bounded(row: &Row<'_>, column: usize, most: usize) -> Result<Vec<u8>, Fault> {
    let bytes = row.get_ref(column)?.as_blob().map_err(|_| Damage::Value)?;
    if bytes.len() > most { Err(Damage::Value.into()) } else { Ok(bytes.to_vec()) }
}

pub(super) fn put_bytes(bytes: &mut Vec<u8>, value: &[u8]) {
    bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    bytes.extend_from_slice(value);
}

pub(super) fn put_time(bytes: &mut Vec<u8>, time: Option<UnixTime>) {
    bytes.push(u8::from(time.is_some()));
    bytes.extend_from_slice(&time.unwrap_or_default().0.to_le_bytes());
}

/// Reads a flag, 0 or 1.
pub(super) fn flag(row: &Row<'_>, column: usize) -> Result<bool, Fault> {
    match row.get::<_, i64>(column)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Damage::Value.into()),
    }
}

/// Stores an optional time.
pub(super) fn stored_time(time: Option<UnixTime>) -> Result<Option<i64>, Fault> {
    time.map(|time| stored(time.0)).transpose()
}
