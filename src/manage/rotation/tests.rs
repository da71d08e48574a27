use super::stale::Obstacle;
use super::*;

#[test]
fn the_next_version_has_the_next_number() {
    assert_eq!(next_id("customer/backup@3"), "customer/backup@4");
    assert_eq!(next_id("customer/backup@4294967295"), "customer/backup@4294967295");
    assert_eq!(next_id("strange"), "strange");
}

#[test]
fn what_can_not_be_reached_is_no_failure() {
    let of = |kind: io::ErrorKind| Obstacle::of(&Error::Io(kind.into()).at("a".as_ref()));
    assert_eq!(of(io::ErrorKind::NotFound), Obstacle::Missing);
    assert_eq!(of(io::ErrorKind::PermissionDenied), Obstacle::ReadOnly);
    assert_eq!(of(io::ErrorKind::ReadOnlyFilesystem), Obstacle::ReadOnly);
    assert_eq!(of(io::ErrorKind::StorageFull), Obstacle::Failed);
    assert_eq!(Obstacle::of(&Error::SourceChanged("changed")), Obstacle::Failed);
}
