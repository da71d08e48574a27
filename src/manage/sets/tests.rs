use super::*;
use crate::clock::UnixTime;
use crate::key::Thumbprint;

fn key(layer: Layer, number: u8) -> SetKey {
    SetKey { layer, thumbprint: Thumbprint::from_bytes([number; 32]), key_id: format!("customer/backup@{number}") }
}

fn set() -> EncryptionSet {
    EncryptionSet {
        name: "prod".parse().expect("a name"),
        kind: SetKind::PlatformAndCustomer,
        keys: vec![key(Layer::Inner, 1), key(Layer::Outer, 9)],
        links: Vec::new(),
        location: None,
        subscription: None,
        auto_rotate: false,
        epoch: false,
        recovery: true,
        generation: 1,
        created: UnixTime(0),
    }
}

#[test]
fn the_key_that_was_active_is_linked() {
    let mut set = set();
    activate(&mut set, key(Layer::Inner, 2));
    assert_eq!(set.keys, [key(Layer::Inner, 2), key(Layer::Outer, 9)]);
    assert_eq!(set.links.len(), 1);
    assert_eq!(set.links[0].key_id, "customer/backup@1");
}

#[test]
fn a_linked_key_that_becomes_active_is_not_linked_any_more() {
    let mut set = set();
    activate(&mut set, key(Layer::Inner, 2));
    activate(&mut set, key(Layer::Inner, 1));
    assert_eq!(set.links.iter().map(|link| link.key_id.as_str()).collect::<Vec<_>>(), ["customer/backup@2"]);
    activate(&mut set, key(Layer::Inner, 1));
    assert_eq!(set.links.len(), 1, "the same key again changes nothing");
}

#[test]
fn labels_are_short_and_plain() {
    assert_eq!(check_label("location", Some("westeurope")), Ok(()));
    assert_eq!(check_label("location", None), Ok(()));
    for text in ["", "a\nb", "\u{1b}[2J", &"a".repeat(91)] {
        assert!(check_label("location", Some(text)).is_err(), "{text:?}");
    }
}
