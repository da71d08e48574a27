//! NSS softokn: it wants arguments, and has OAEP with SHA-256.

use std::sync::Arc;

use sobre::oaep::WrapAlgorithm;
use sobre::provider::conformance::{Capability, Change, Subject, run};
use sobre::provider::pkcs11::{Pkcs11Vault, TokenSelector};
use sobre::provider::{KeyAdmin, KeyProvider};

use crate::tests;
use crate::tokens::*;

tests! {
    nss_conforms,
}

fn nss_conforms() {
    let mut settings = settings(NSS, "NSS Certificate DB", &Pin::of(PIN));
    settings.token = TokenSelector::labelled("NSS Certificate DB");
    let folder = folder();
    settings.init_args =
        Some(format!("configdir='sql:{}' certPrefix='' keyPrefix='' secmod='secmod.db' flags=", folder.display()));
    let vault = Arc::new(Pkcs11Vault::open(settings, &cx()).expect("the token"));
    vault.create(&name("main"), 2048, &cx()).expect("creates");
    let subject = Subject::new(vault.clone(), by("main"))
        .with_census(vault.clone())
        .with_admin(vault.clone(), &[Change::ActivationDate, Change::Disable, Change::ExpiryDate]);
    let report = run(&subject);
    assert!(report.is_conformant(), "{report}");
    assert!(report.not_run().all(|(_, needs)| needs == Capability::Recovery), "{report}");
    let wrapped = round_trip(&vault, &vault.version(&by("main"), &cx()).expect("found"));
    assert_eq!(wrapped.algorithm, WrapAlgorithm::RsaOaep256);
}
