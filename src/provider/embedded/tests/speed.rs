//! Thousands of versions, and how fast keys are found and used.

use std::time::Instant;

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};

use super::*;

/// Adds versions to a key in one transaction, and returns their thumbprints.
fn many(vault: &EmbeddedVault, key: &str, count: usize) -> Vec<crate::key::Thumbprint> {
    let root = vault.root_key(&cx()).expect("unlocked");
    let insert = |connection: &Connection, meta: &mut Meta| {
        let row = KeyRow::find(connection, &name(key))?.expect("is there");
        let mut newest = view_of(connection, meta, &root, key)?;
        let mut made = Vec::new();
        for _ in 0..count {
            newest = newest.next().expect("a number");
            made.push(synthetic().insert(connection, meta, &root, (&row, newest), &SystemRandom)?.thumbprint);
        }
        meta.write(connection, &root)?;
        Ok(made)
    };
    vault.change(&cx(), &root, insert).expect("inserts")
}

fn view_of(connection: &Connection, meta: &Meta, root: &RootKey, key: &str) -> Result<VersionNumber, Fault> {
    let newest = Record::select(connection, meta, Some(root), provider::NEWEST, [key])?;
    Ok(newest.first().expect("a version").number)
}

#[test]
fn a_thousand_versions_of_one_key_are_all_found() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    let wrapped = wrap(&vault, &import(&vault, "backup"));
    let thumbprints = many(&vault, "backup", 999);
    drop(vault);
    let vault = open(&path).expect("opens");
    assert_eq!(vault.versions(&name("backup"), &cx()).expect("lists").len(), 1000);
    for (index, thumbprint) in thumbprints.iter().enumerate().step_by(37) {
        let id = format!("local/backup@{}", index + 2);
        assert_eq!(vault.find(thumbprint, &cx()).expect("finds").id, id);
        assert_eq!(vault.version(&reference(&id), &cx()).expect("finds").thumbprint, *thumbprint);
        let prefix = format!("jkt:{}", thumbprint.short());
        assert_eq!(vault.version(&reference(&prefix), &cx()).expect("finds").id, id);
    }
    unwraps(&vault, &wrapped);
    assert_eq!(vault.version(&reference("backup"), &cx()).expect("finds").id, "local/backup@1000");
}

#[test]
fn the_cache_of_private_keys_is_bounded_and_emptied_by_a_change() {
    let (_folder, path) = folder();
    let (vault, other) = (plain(&path), open(&path).expect("opens"));
    let wrapped = wrap(&vault, &import(&vault, "backup"));
    let more = wrap(&vault, &vault.import(&name("more"), &test_key("rsa3072"), &cx()).expect("a key"));
    for _ in 0..3 {
        unwraps(&vault, &wrapped);
        unwraps(&vault, &more);
    }
    assert_eq!(vault.cache.len(), 2);
    // The audit log moves with every operation, and changes no key.
    let head = AuditHead { count: 1, mac: [0; 32] };
    assert!(other.advance_audit_head(None, &head, &cx()).expect("sets"));
    unwraps(&vault, &wrapped);
    assert_eq!(vault.cache.len(), 2);
    other.set_delete_lock(&name("more"), true, &cx()).expect("locks");
    unwraps(&vault, &wrapped);
    assert_eq!(vault.cache.len(), 1);
    let (record, stamp) =
        vault.inspect(&cx(), |view| Ok((view.records("", [])?.remove(0), view.stamp))).expect("reads");
    for _ in 0..2 * cache::MOST_KEYS {
        let mut record = record.clone();
        record.thumbprint = crate::key::Thumbprint::of(&synthetic().public);
        vault.cache.remember(&record, test_key("rsa2048"), stamp);
    }
    assert_eq!(vault.cache.len(), cache::MOST_KEYS);
}

#[test]
#[ignore = "prints figures"]
fn unwrapping_figures() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    let wrapped = wrap(&vault, &import(&vault, "backup"));
    unwrap_rate(&vault, &wrapped, "1 version");
}

#[test]
#[ignore = "takes a minute, and prints figures"]
fn figures() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    let wrapped = wrap(&vault, &import(&vault, "backup"));
    let start = Instant::now();
    let thumbprints = many(&vault, "backup", 100_000);
    println!("100,000 versions inserted in {:.1} s", start.elapsed().as_secs_f64());
    drop(vault);
    let start = Instant::now();
    let vault = open(&path).expect("opens");
    println!("opened, every record checked, in {:.2} s", start.elapsed().as_secs_f64());
    let mut times: Vec<Duration> = thumbprints
        .iter()
        .step_by(100)
        .map(|thumbprint| {
            let start = Instant::now();
            vault.find(thumbprint, &cx()).expect("finds");
            start.elapsed()
        })
        .collect();
    let first = times[0];
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("look-up by thumbprint among 100,000: first {first:?}, median {:?}, 99 % {:?}", at(50), at(99));
    // The slowest are those that the system interrupts.
    assert!(at(50) < Duration::from_millis(1));
    alias_figures(&vault, &thumbprints);
    unwrap_rate(&vault, &wrapped, "100,001 versions");
    let start = Instant::now();
    vault.rotate_with(&name("backup"), &cx(), |_| Ok(synthetic())).expect("rotates");
    println!("a rotation among 100,000: {:?}", start.elapsed());
}

/// The private-key work of a rotation without epoch key: every DEK is unwrapped with the old version and wrapped under the new one.
#[test]
#[ignore = "takes minutes, and prints figures"]
fn a_hundred_thousand_deks_are_moved_at_the_rate_of_the_private_key() {
    use rayon::prelude::*;

    let (_folder, path) = folder();
    let vault = plain(&path);
    let old = import(&vault, "backup");
    let new = vault.rotate(&name("backup"), &cx()).expect("a version of the same size");
    assert_eq!(new.public.bits(), old.public.bits());
    let der = key_der("rsa2048.pkcs8");
    let raw = OaepPrivateDecryptingKey::new(PrivateDecryptingKey::from_pkcs8(&der).expect("a key")).expect("a key");
    let deks: Vec<SecretBytes> = (0..1000).map(|_| SecretBytes::copied_from(&[7; 128])).collect();
    let wrapped: Vec<WrappedKey> = crate::provider::wrap_all(&vault, &old, &deks, &cx())
        .into_iter()
        .map(|wrapped| wrapped.expect("wraps"))
        .collect();
    let (mut ratios, mut moved, mut seconds) = (Vec::new(), 0, 0.0);
    while moved < 100_000 {
        let start = Instant::now();
        wrapped.par_iter().with_max_len(1).for_each(|wrapped| {
            let mut out = vec![0; raw.min_output_size()];
            raw.decrypt(&OAEP_SHA256_MGF1SHA256, &wrapped.ciphertext, &mut out, None).expect("decrypts");
        });
        let bare = start.elapsed().as_secs_f64();
        let start = Instant::now();
        crate::provider::unwrap_each(&vault, &wrapped, &cx(), |_, dek| {
            let again = vault.wrap_key(&new, &dek.expect("unwraps"), &cx()).expect("wraps");
            assert_eq!(again.thumbprint, new.thumbprint);
            std::ops::ControlFlow::Continue(())
        });
        let through = start.elapsed().as_secs_f64();
        ratios.push(bare / through);
        moved += wrapped.len();
        seconds += through;
    }
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    println!(
        "{moved} wrapped DEKs moved in {seconds:.1} s, {:.0} a second; against AWS-LC's unwrapping alone on as many cores: {:.1} %",
        1e5 / seconds,
        ratio * 100.0
    );
    assert!(ratio >= 0.9, "{ratio}");
}

/// Looks versions up by the beginnings of all that they are called.
fn alias_figures(vault: &EmbeddedVault, thumbprints: &[crate::key::Thumbprint]) {
    let mut wanted = Vec::new();
    for (index, thumbprint) in thumbprints.iter().enumerate().step_by(1000) {
        let version = vault.find(thumbprint, &cx()).expect("finds");
        let spki = crate::key::KeyAlias::Spki(crate::key::SpkiHash::of(&version.public)).to_string();
        wanted.push((format!("jkt:{}", thumbprint.short()), version.id.clone()));
        wanted.push((spki[..25].to_owned(), version.id.clone()));
        wanted.push((format!("cka:{index:016x}"), version.id));
    }
    let root = vault.root_key(&cx()).expect("unlocked");
    let start = Instant::now();
    let record = |connection: &Connection, meta: &mut Meta| {
        for (index, thumbprint) in thumbprints.iter().enumerate() {
            let alias = format!("cka:{index:016x}").parse().expect("an alias");
            let found = Record::select(
                connection,
                meta,
                Some(&root),
                "WHERE versions.thumbprint = ?1",
                [thumbprint.as_bytes()],
            );
            crate::provider::embedded::aliases::insert(
                connection,
                found?.first().expect("a version").sequence,
                &[alias],
            )?;
        }
        meta.write(connection, &root)
    };
    vault.change(&cx(), &root, record).expect("records");
    println!("100,000 aliases recorded in {:.1} s", start.elapsed().as_secs_f64());
    vault.version(&reference("backup@1"), &cx()).expect("finds");
    for scheme in ["jkt", "spki", "cka"] {
        let fitting = wanted.iter().filter(|(text, _)| text.starts_with(scheme));
        let mut times: Vec<Duration> = fitting
            .map(|(text, id)| {
                let start = Instant::now();
                assert_eq!(vault.version(&reference(text), &cx()).expect("finds").id, *id, "{text}");
                start.elapsed()
            })
            .collect();
        times.sort();
        let median = times[times.len() / 2];
        println!("look-up by {scheme}: among 100,000: median {median:?}, slowest {:?}", times[times.len() - 1]);
        assert!(median < Duration::from_millis(1), "{scheme}");
    }
}

/// Compares with AWS-LC alone, in turns, on all cores.
fn unwrap_rate(vault: &EmbeddedVault, wrapped: &WrappedKey, what: &str) {
    let der = key_der("rsa2048.pkcs8");
    let raw = OaepPrivateDecryptingKey::new(PrivateDecryptingKey::from_pkcs8(&der).expect("a key")).expect("a key");
    let bare = || {
        let mut out = vec![0; raw.min_output_size()];
        let len = raw.decrypt(&OAEP_SHA256_MGF1SHA256, &wrapped.ciphertext, &mut out, None).expect("decrypts").len();
        assert_eq!(len, 100);
    };
    let through = || {
        assert_eq!(vault.unwrap_key(wrapped, &cx()).expect("unwraps").len(), 100);
    };
    through();
    // Short turns, so that what else the machine does meets both alike.
    let mut ratios: Vec<(f64, f64, f64)> = (0..25)
        .map(|_| {
            let (bare, through) = (rate(&bare), rate(&through));
            (through / bare, bare, through)
        })
        .collect();
    ratios.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (ratio, bare, through) = ratios[ratios.len() / 2];
    println!("{what}: {through:.0} unwraps/s, AWS-LC alone {bare:.0}/s: {:.1} %", ratio * 100.0);
    assert!(ratio >= 0.9, "{ratio}");
}

/// How often per second all cores together do something.
fn rate(act: &(impl Fn() + Sync)) -> f64 {
    let cores = std::thread::available_parallelism().expect("known").get();
    let done = AtomicUsize::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while start.elapsed() < Duration::from_millis(200) {
                    act();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let done = u32::try_from(done.load(Ordering::Relaxed)).expect("fits");
    f64::from(done) / start.elapsed().as_secs_f64()
}
