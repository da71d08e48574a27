//! No mutation of a good file is a crash, or another key without an error.

use proptest::prelude::*;

use super::*;

/// One change of a file.
#[derive(Clone, Debug)]
enum Change {
    Cut(usize),
    Flip(usize, u8),
    Insert(usize, Vec<u8>),
    Move(usize, usize, usize),
    Set(usize, u8),
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        let at = |index: usize| index % file.len().max(1);
        match self {
            _ if file.is_empty() => {}
            Self::Cut(len) => file.truncate(at(*len)),
            Self::Flip(index, bits) => {
                let index = at(*index);
                file[index] ^= bits;
            }
            Self::Insert(index, bytes) => {
                let index = at(*index);
                file.splice(index..index, bytes.iter().copied());
            }
            Self::Move(from, to, len) => {
                let (from, to) = (at(*from), at(*to));
                let part = file[from..file.len().min(from + len)].to_vec();
                file.splice(to..to, part);
            }
            Self::Set(index, byte) => {
                let index = at(*index);
                file[index] = *byte;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn mutated_file_is_refused_or_gives_the_same_key(
        file in proptest::sample::select(FILES.as_slice()),
        changes in proptest::collection::vec(change(), 1..4),
    ) {
        let mut bytes = load(file).expose().to_vec();
        for change in &changes {
            change.apply(&mut bytes);
        }
        let bytes = SecretBytes::taken_from(bytes);
        let result = if file.ends_with("byok") { byok::open(&bytes, "rsa3072.pkcs8") } else { unlock(&bytes, PASSPHRASE) };
        match result {
            Ok(key) => prop_assert_eq!(thumbprint(&key), expected(2048)),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let index = || any::<usize>();
    prop_oneof![
        index().prop_map(Change::Cut),
        (index(), 1..=255_u8).prop_map(|(at, bits)| Change::Flip(at, bits)),
        (0..80_usize, 1..=255_u8).prop_map(|(at, bits)| Change::Flip(at, bits)),
        (index(), proptest::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (index(), index(), 1..200_usize).prop_map(|(from, to, len)| Change::Move(from, to, len)),
        (index(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
    ]
}

const FILES: [&str; 14] = [
    "imports/clear-mac.pfx",
    "imports/clear.pfx",
    "imports/legacy.pfx",
    "imports/modern.pfx",
    "imports/no-mac.pfx",
    "imports/pbes1-3des.der",
    "imports/pbes2-scrypt.der",
    "imports/pbes2-sha256-aes256.der",
    "imports/pkcs1.der",
    "imports/pkcs8.der",
    "imports/python.byok",
    "imports/rsa2048.jwk",
    "keys/test-rsa2048.pkcs1.pem",
    "keys/test-rsa2048.pkcs8.pem",
];
