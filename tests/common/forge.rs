//! Takes a container apart and changes it as somebody would who knows the keys, or who does not.
//!
//! A recipe is JSON: edits at named places, then what is mended. The section on `hostile/` in `vectors/README.md` has the words.

use std::collections::BTreeMap;
use std::ops::Range;

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sobre::format::{
    Entry, EpochKeys, EpochRecord, EpochSecret, Head, HeaderHash, Keys, Layer, LayerKeys, LayerSecret,
};
use sobre::oaep::WrapAlgorithm;
use sobre::provider::{KeyProvider, OpContext, WrappedKey};
use sobre::secret::SecretBytes;

use super::golden::unhex;
use super::{CUSTOMER, PLATFORM, golden, oracle, test_key};

pub const HEAD: usize = 32768;
pub const BODY: usize = 65536;
pub const FOOTER: usize = 192;

/// A container in bytes, with the places of its parts as they were before any edit. An epoch record stands there twice, for
/// a container has two heads, and has nothing behind them.
#[derive(Debug)]
pub struct Forge {
    pub bytes: Vec<u8>,
    /// Sections, relative to their head.
    pub sections: Vec<Range<usize>>,
    pub pages: Vec<Range<usize>>,
    /// Stored bytes and record of every data chunk.
    pub chunks: Vec<(Range<usize>, usize)>,
    pub index: usize,
    pub footer: usize,
    keys: Option<Keys>,
    envelope_keys: Vec<SecretBytes>,
}

impl Forge {
    /// Takes a good container apart; its keys must be the two test keys, or epoch keys under them with a golden record.
    pub fn new(bytes: &[u8]) -> Self {
        let head = Head::decode(&bytes[..HEAD], 0).expect("a good head");
        let hash = head.header.hash();
        let mut layers = Vec::new();
        let mut sections = Vec::new();
        let mut at = 1024 + 16;
        for &layer in Layer::of(head.header.suite) {
            let (section, encoded) = head.envelope.section(layer).expect("a section");
            sections.push(at..at + encoded.len());
            at += encoded.len();
            let blob = unwrap(&section.entries[0]);
            let secret = LayerSecret::from_blob(layer, &hash, blob).expect("a good blob");
            let keys = LayerKeys::derive(&secret, &hash);
            layers.push((secret, keys));
        }
        let keys = Some(Keys::derive(head.header.suite, &layers).expect("all layers"));
        let footer = bytes.len() - FOOTER;
        let index = u64_at(bytes, footer + 72);
        let mut pages = Vec::new();
        let mut chunks = Vec::new();
        for at in (index..footer).step_by(40) {
            let start = u64_at(bytes, at);
            let count = usize::from(u16::from_le_bytes([bytes[start + 12], bytes[start + 13]]));
            let mut data = u64_at(bytes, start + 24);
            for record in (start + 256..).step_by(64).take(count) {
                let len = u32::from_le_bytes(bytes[record + 4..record + 8].try_into().expect("4")) as usize;
                if bytes[record] == 1 {
                    chunks.push((data..data + len, record));
                    data += len;
                }
            }
            pages.push(start..start + 256 + 64 * count);
        }
        let envelope_keys = layers.into_iter().map(|(_, keys)| keys.envelope).collect();
        Self { bytes: bytes.to_vec(), sections, pages, chunks, index, footer, keys, envelope_keys }
    }

    /// Takes a good epoch record apart; its key must be under a test key.
    fn record(bytes: &[u8]) -> Self {
        let section = 1040..1040 + u16_at(bytes, 1040);
        let envelope_keys = vec![epoch_keys(bytes).envelope];
        let (pages, chunks, sections) = (Vec::new(), Vec::new(), vec![section]);
        Self { bytes: bytes.repeat(2), sections, pages, chunks, index: 0, footer: 0, keys: None, envelope_keys }
    }

    /// Applies a recipe to the golden container or epoch record that it names.
    pub fn follow(recipe: &Value) -> Vec<u8> {
        let base = recipe["base"].as_str().expect("a base");
        let record = base.ends_with(".sobre-epoch");
        let mut forge = if record { Self::record(&golden::read(base)) } else { Self::new(&golden::read(base)) };
        for edit in recipe["edits"].as_array().expect("edits") {
            forge.edit(edit);
        }
        forge.mend(recipe["mend"].as_array().into_iter().flatten().map(|word| word.as_str().expect("a word")));
        if record {
            forge.bytes.truncate(HEAD);
        }
        for edit in recipe["then"].as_array().into_iter().flatten() {
            forge.edit(edit);
        }
        forge.bytes
    }

    /// Returns where a named place is; places inside heads are in head A.
    pub fn place(&self, name: &str) -> usize {
        let number = |prefix: &str| name.strip_prefix(prefix).and_then(|rest| rest.parse::<usize>().ok());
        match name {
            "body" => BODY,
            "end" => self.bytes.len(),
            "entry" => {
                let section = self.sections[0].start;
                let set = u16_at(&self.bytes, section + 24);
                section + 26 + set + 2 + u16_at(&self.bytes, section + 26 + set)
            }
            "envelope" => 1024,
            "fill" => self.sections.last().expect("a section").end,
            "fixed" | "start" => 0,
            "footer" => self.footer,
            "head-b" => HEAD,
            "index" => self.index,
            "wrapped" => self.wrapped(0).start,
            _ => number("section-")
                .map(|n| self.sections[n - 1].start)
                .or_else(|| number("mac-").map(|n| self.sections[n - 1].end - 32))
                .or_else(|| number("page-").map(|n| self.pages[n].start))
                .or_else(|| number("record-").map(|n| self.pages[n / 1020].start + 256 + 64 * (n % 1020)))
                .or_else(|| number("stored-").map(|n| self.chunks[n].0.start))
                .unwrap_or_else(|| panic!("no place '{name}'")),
        }
    }

    /// Where the wrapped key of the first entry of a section is, in head A.
    fn wrapped(&self, section: usize) -> Range<usize> {
        let section = &self.sections[section];
        let len = self.single_ciphertext_len(section);
        section.end - 32 - len..section.end - 32
    }

    fn single_ciphertext_len(&self, section: &Range<usize>) -> usize {
        // The containers that recipes start from have one entry a layer, and its wrapped key ends the section.
        [256, 384, 136]
            .into_iter()
            .find(|len| u16_at(&self.bytes, section.end - 34 - len) == *len)
            .expect("a wrapped key")
    }

    fn edit(&mut self, edit: &Value) {
        let word = |name: &str| edit[name].as_str();
        let at = |name: &str| {
            let text = word(name).unwrap_or_else(|| panic!("'{name}' is missing in {edit}"));
            let (place, plus) = text.split_once('+').unwrap_or((text, "0"));
            let before = edit["before"].as_u64().map_or(0, |count| usize::try_from(count).expect("small"));
            self.place(place) + plus.parse::<usize>().expect("a number") - before
        };
        let len = || usize::try_from(edit["len"].as_u64().expect("a length")).expect("small");
        match word("do").unwrap_or("set") {
            "set" => {
                let value = word("hex").map_or_else(|| self.other(edit, at("at"), len()), unhex);
                for place in self.places(edit, at("at")) {
                    self.bytes[place..place + value.len()].copy_from_slice(&value);
                }
            }
            "add" => {
                let by = edit["by"].as_i64().expect("a number");
                let size = usize::try_from(edit["size"].as_u64().expect("bytes")).expect("small");
                for place in self.places(edit, at("at")) {
                    let mut value = [0; 8];
                    value[..size].copy_from_slice(&self.bytes[place..place + size]);
                    let value = u64::from_le_bytes(value).wrapping_add_signed(by).to_le_bytes();
                    self.bytes[place..place + size].copy_from_slice(&value[..size]);
                }
            }
            "flip" => {
                for place in self.places(edit, at("at")) {
                    self.bytes[place] ^= 1;
                }
            }
            "zero" => {
                for place in self.places(edit, at("at")) {
                    self.bytes[place..place + len()].fill(0);
                }
            }
            "truncate" => {
                let place = at("at");
                self.bytes.truncate(place);
            }
            "remove" => {
                let place = at("at");
                self.bytes.drain(place..place + len());
            }
            "insert" => {
                let value = word("hex").map_or_else(|| self.other(edit, at("at"), len()), unhex);
                let place = at("at");
                self.bytes.splice(place..place, value);
            }
            "append" => {
                let value = word("hex").map_or_else(|| golden::read(word("from").expect("a file")), unhex);
                self.bytes.extend_from_slice(&value);
            }
            "swap" => {
                let (one, other, len) = (at("at"), at("with"), len());
                for byte in 0..len {
                    self.bytes.swap(one + byte, other + byte);
                }
            }
            "grow" => {
                let section = usize::try_from(edit["section"].as_u64().expect("a section")).expect("small") - 1;
                self.grow(section, at("at"), &unhex(word("hex").expect("bytes")));
            }
            "items" => {
                let items = unhex(word("hex").expect("bytes"));
                let fill = self.place("fill");
                let len = u32::try_from(fill - 1024 + items.len()).expect("small").to_le_bytes();
                for head in [0, HEAD] {
                    self.bytes[head + fill..head + fill + items.len()].copy_from_slice(&items);
                    self.bytes[head + 1028..head + 1032].copy_from_slice(&len);
                }
            }
            "wrap" => self.wrap(edit),
            other => panic!("no edit '{other}'"),
        }
    }

    /// Both heads are edited alike unless the edit says `"head": "a"`, or names a place in head B.
    fn places(&self, edit: &Value, place: usize) -> Vec<usize> {
        let whole = edit["len"].as_u64().is_some_and(|len| len > HEAD as u64);
        if place < HEAD && !whole && edit["head"] != "a" { vec![place, HEAD + place] } else { vec![place] }
    }

    /// Inserts bytes into a section and mends all lengths around; what is behind moves up into the fill.
    fn grow(&mut self, section: usize, at: usize, bytes: &[u8]) {
        let range = self.sections[section].clone();
        for head in [0, HEAD] {
            let end = head + 32736;
            self.bytes.splice(head + at..head + at, bytes.iter().copied());
            // The fill gives what the section takes.
            self.bytes.drain(end..end + bytes.len());
            let section_len = u32::try_from(range.len() + bytes.len()).expect("small");
            self.bytes[head + range.start..head + range.start + 4].copy_from_slice(&section_len.to_le_bytes());
            let all = u32::from_le_bytes(self.bytes[head + 1028..head + 1032].try_into().expect("4"));
            let all = all + u32::try_from(bytes.len()).expect("small");
            self.bytes[head + 1028..head + 1032].copy_from_slice(&all.to_le_bytes());
        }
        self.sections[section].end += bytes.len();
        for later in &mut self.sections[section + 1..] {
            *later = later.start + bytes.len()..later.end + bytes.len();
        }
    }

    /// Wraps something else than it should be, for the right key.
    fn wrap(&mut self, edit: &Value) {
        let layer = usize::try_from(edit["layer"].as_u64().expect("a layer")).expect("small");
        let file = if layer == 1 { CUSTOMER } else { PLATFORM };
        let thumbprint = super::wrapping_key(file).version.thumbprint;
        let hash = HeaderHash(Sha256::digest(&self.bytes[..1024]).into());
        let context: &[u8] = if self.keys.is_some() { b"sobre/1 dek\0" } else { b"sobre/1 epoch\0" };
        let tag = |layer: u8| Sha256::digest([context, &[layer], &hash.0].concat()).to_vec();
        let own = u8::try_from(layer).expect("1 or 2");
        let secret_len = if layer == 1 && self.keys.is_some() { 96 } else { 32 };
        let secret: Vec<u8> = (0..secret_len).collect();
        let blob = match edit["rule"].as_str().expect("a rule") {
            "empty" => Vec::new(),
            "equal-halves" => [tag(own), vec![7; 64], vec![8; 32]].concat(),
            "long" => [tag(own), secret, vec![0]].concat(),
            "no-tag" => [vec![0; 32], secret].concat(),
            "other-layer" => [tag(3 - own), secret].concat(),
            "other-secret" => [tag(own), secret].concat(),
            "planted" => {
                let blob = [tag(own), secret].concat();
                let made = EpochSecret::from_blob(Layer::Inner, &hash, SecretBytes::copied_from(&blob));
                self.envelope_keys = vec![EpochKeys::derive(&made.expect("a good blob"), &hash).envelope];
                blob
            }
            "short" => [tag(own), secret[1..].to_vec()].concat(),
            other => panic!("no rule '{other}'"),
        };
        use rsa::pkcs8::DecodePrivateKey;
        let pem = std::fs::read_to_string(test_key(file)).expect("a test key");
        let public = rsa::RsaPrivateKey::from_pkcs8_pem(&pem).expect("a test key").to_public_key();
        let ciphertext = oracle::wrap(&public, &thumbprint, WrapAlgorithm::RsaOaep256, &blob);
        let place = self.wrapped(layer - 1);
        for head in [0, HEAD] {
            self.bytes[head + place.start..head + place.end].copy_from_slice(&ciphertext);
        }
    }

    /// Bytes of another golden container, at the same named place there or at `its`.
    fn other(&self, edit: &Value, place: usize, len: usize) -> Vec<u8> {
        let bytes = golden::read(edit["from"].as_str().expect("hex, or a file"));
        let place = match edit["its"].as_str() {
            Some(name) => Forge::new(&bytes).place(name),
            None => place,
        };
        bytes[place..place + len].to_vec()
    }

    /// Mends what the words name, in their order.
    pub fn mend<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        for word in words {
            match word {
                "h" => {
                    let hash = Sha256::digest(&self.bytes[..1024]);
                    for at in self.pages.iter().map(|page| page.start + 40).chain([self.footer + 8]) {
                        self.bytes[at..at + 32].copy_from_slice(&hash);
                    }
                }
                "checks" => (0..2).for_each(|head| self.mend_check(head)),
                "sections" => self.mend_sections(),
                "crcs" => self.mend_crcs(),
                "pages" => self.mend_pages(),
                "hashes" => self.mend_hashes(),
                "root" => self.mend_root(),
                "footer" => {
                    let mac = mac(self.payload_keys().footer.expose(), &self.bytes[self.footer..self.footer + 120]);
                    self.bytes[self.footer + 120..self.footer + 152].copy_from_slice(&mac);
                    self.mend_crc();
                }
                "crc" => self.mend_crc(),
                // What anyone can mend, and what takes the keys.
                "public" => self.mend(["checks", "crcs", "hashes", "root", "crc"].into_iter()),
                "all" => self.mend(["sections", "checks", "pages", "hashes", "root", "footer"].into_iter()),
                other => panic!("nothing to mend is called '{other}'"),
            }
        }
    }

    fn payload_keys(&self) -> &Keys {
        self.keys.as_ref().expect("a snapshot")
    }

    pub fn mend_check(&mut self, head: usize) {
        let check = Sha256::digest(&self.bytes[head * HEAD..head * HEAD + 32736]);
        self.bytes[head * HEAD + 32736..(head + 1) * HEAD].copy_from_slice(&check);
    }

    fn mend_sections(&mut self) {
        for head in [0, HEAD] {
            for (section, key) in self.sections.iter().zip(&self.envelope_keys) {
                let end = head + section.end - 32;
                let mac = mac(key.expose(), &self.bytes[head + section.start..end]);
                self.bytes[end..end + 32].copy_from_slice(&mac);
            }
        }
    }

    fn mend_crcs(&mut self) {
        let blake3 = self.bytes[11] == 1;
        for (stored, record) in self.chunks.clone() {
            let mut crc = crc64fast_nvme::Digest::new();
            crc.write(&self.bytes[stored.clone()]);
            self.bytes[record + 8..record + 16].copy_from_slice(&crc.sum64().to_le_bytes());
            if blake3 {
                let tag = *blake3::hash(&self.bytes[stored]).as_bytes();
                self.bytes[record + 32..record + 64].copy_from_slice(&tag);
            }
        }
    }

    pub fn mend_pages(&mut self) {
        for page in self.pages.clone() {
            self.bytes[page.start + 224..page.start + 256].fill(0);
            let mac = mac(self.payload_keys().page.expose(), &self.bytes[page.clone()]);
            self.bytes[page.start + 224..page.start + 256].copy_from_slice(&mac);
        }
    }

    fn mend_hashes(&mut self) {
        for (number, page) in self.pages.clone().into_iter().enumerate() {
            let hash = Sha256::digest(&self.bytes[page]);
            let slot = self.index + 40 * number + 8;
            self.bytes[slot..slot + 32].copy_from_slice(&hash);
        }
    }

    fn mend_root(&mut self) {
        let mut root = Sha256::new();
        root.update(b"sobre/1 root\0");
        root.update(Sha256::digest(&self.bytes[..1024]));
        root.update(&self.bytes[self.footer + 40..self.footer + 48]);
        root.update(&self.bytes[self.index..self.footer]);
        let root = root.finalize();
        self.bytes[self.footer + 88..self.footer + 120].copy_from_slice(&root);
    }

    fn mend_crc(&mut self) {
        let mut crc = crc64fast_nvme::Digest::new();
        crc.write(&self.bytes[self.footer..self.footer + 184]);
        self.bytes[self.footer + 184..self.footer + 192].copy_from_slice(&crc.sum64().to_le_bytes());
    }
}

/// All hostile recipes by name, in the order of the file.
pub fn recipes() -> Vec<(String, Value)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/hostile/index.json");
    let text = std::fs::read_to_string(path).expect("the hostile vectors");
    let Value::Array(recipes) = serde_json::from_str(&text).expect("JSON") else { panic!("no list") };
    let mut names = BTreeMap::new();
    recipes
        .into_iter()
        .map(|recipe| {
            let name = recipe["name"].as_str().expect("a name").to_owned();
            assert!(names.insert(name.clone(), ()).is_none(), "two recipes are called {name}");
            (name, recipe)
        })
        .collect()
}

/// What an entry holds.
fn unwrap(entry: &Entry) -> SecretBytes {
    if let Some(id) = entry.epoch() {
        let key = epoch_keys(&golden::read(&id.file_name())).wrap;
        let mut blob = vec![0; entry.ciphertext.len()];
        let kek = AesKek::new(&AES_256, key.expose()).expect("256 bits");
        let blob = kek.unwrap_with_padding(&entry.ciphertext, &mut blob).expect("the epoch key");
        return SecretBytes::copied_from(blob);
    }
    let wrapped = WrappedKey {
        thumbprint: entry.thumbprint,
        id: String::new(),
        algorithm: WrapAlgorithm::RsaOaep256,
        ciphertext: entry.ciphertext.clone(),
    };
    super::pem_files(&[CUSTOMER, PLATFORM]).unwrap_key(&wrapped, &OpContext::default()).expect("a test key")
}

/// The keys that the epoch key of a good record gives.
fn epoch_keys(record: &[u8]) -> EpochKeys {
    let record = EpochRecord::decode(record).expect("a good record");
    let hash = record.header.hash();
    let blob = unwrap(&record.section().expect("a section").0.entries[0]);
    EpochKeys::derive(&EpochSecret::from_blob(record.header.layer, &hash, blob).expect("a good blob"), &hash)
}

fn mac(key: &[u8], bytes: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(bytes);
    mac.finalize().into_bytes().into()
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    u16::from_le_bytes([bytes[at], bytes[at + 1]]).into()
}

fn u64_at(bytes: &[u8], at: usize) -> usize {
    usize::try_from(u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8"))).expect("small")
}
