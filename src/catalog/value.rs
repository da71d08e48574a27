//! Between SQLite's values and ours.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};

use crate::catalog::CatalogDamage;
use crate::catalog::error::Fault;
use crate::clock::UnixTime;
use crate::format::Layer;

/// A number without a sign: a negative one in the database is damage.
pub(super) struct Whole(pub(super) u64);

impl FromSql for Whole {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let value = value.as_i64()?;
        u64::try_from(value).map(Self).map_err(|_| FromSqlError::OutOfRange(value))
    }
}

/// Seconds since 1970.
pub(super) struct Time(pub(super) UnixTime);

impl FromSql for Time {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Whole::column_result(value).map(|Whole(seconds)| Self(UnixTime(seconds)))
    }
}

/// SQLite's integers have a sign; a hostile header's time past the year 292 billion is cut there.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn layer_of(number: u8) -> Result<Layer, Fault> {
    let known = [Layer::Inner, Layer::Outer].into_iter().find(|layer| layer.number() == number);
    known.ok_or_else(|| CatalogDamage::Value.into())
}

pub(super) fn path_of(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}
