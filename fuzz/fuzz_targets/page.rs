//! A page that decodes encodes to the same bytes but its MAC; with the right MAC it authenticates, with any other change it does not.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sobre::format::{HeaderHash, Page, page_len};
use sobre::secret::SecretBytes;

fuzz_target!(|data: &[u8]| {
    // The snapshot that the page says it belongs to, and its own number: both are compared first.
    let hash = HeaderHash(data.get(40..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default());
    let number = data.get(8..).and_then(|rest| rest.first_chunk()).map_or(0, |number| u32::from_le_bytes(*number));
    let Ok(page) = Page::decode(data, number, &hash) else { return };
    assert_eq!(data.len(), page_len(page.records.len()));
    let key = SecretBytes::taken_from(vec![1; 32]);
    let sealed = page.seal(&hash, &key);
    assert!(sealed[..224] == data[..224] && sealed[256..] == data[256..], "another encoding");
    let again = Page::decode(&sealed, number, &hash).expect("its own encoding");
    assert_eq!(again, page);
    assert!(again.clone().authenticate(&sealed, &key).is_ok());
    let mut changed = sealed;
    let at = usize::from(data[224]) * 257 % changed.len();
    changed[at] ^= 1 << (data[225] % 8);
    assert!(again.authenticate(&changed, &key).is_err(), "a changed page passes at {at}");
    assert!(Page::decode(data, number ^ 1, &hash).is_err(), "the page passes for another one");
});
