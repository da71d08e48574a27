//! Deadlines, threads, and what errors tell.

use base64ct::{Base64, Base64Url, Encoding};

use crate::provider::ProviderErrorKind;
use crate::provider::conformance::world::{MARK, World, cx, secret, too_late};
use crate::provider::conformance::{Finding, checks};

checks! {
    passed_deadline_is_a_timeout_at_once,
    eight_threads_share_the_provider,
    errors_name_the_vault,
    errors_hold_no_secret,
}

fn passed_deadline_is_a_timeout_at_once(world: &World<'_>) -> Result<(), Finding> {
    let (provider, kinds) = (&world.subject.provider, [ProviderErrorKind::Timeout]);
    let key = world.key()?;
    let wrapped = world.wrap(&key, 64)?;
    let began = cx();
    world.refused("a look-up by reference", &kinds, provider.version(&world.subject.key, &too_late()))?;
    world.refused("a look-up by thumbprint", &kinds, provider.find(&key.thumbprint, &too_late()))?;
    world.refused("wrapping", &kinds, provider.wrap_key(&key, &secret(64), &too_late()))?;
    world.refused("unwrapping", &kinds, provider.unwrap_key(&wrapped, &too_late()))?;
    if began.remaining() < AT_ONCE_LEAVES {
        return Err(Finding::new("answers at once", "answers after seconds"));
    }
    world.unwraps(&wrapped, 64)
}

fn eight_threads_share_the_provider(world: &World<'_>) -> Result<(), Finding> {
    let provider = &*world.subject.provider;
    let key = world.key()?;
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8_usize)
            .map(|thread| {
                let key = &key;
                scope.spawn(move || {
                    for round in 0..4 {
                        let secret = secret(64 + 8 * thread + round);
                        let wrapped = provider.wrap_key(key, &secret, &cx())?;
                        if !provider.unwrap_key(&wrapped, &cx())?.ct_eq(secret.expose()) {
                            return Ok(false);
                        }
                    }
                    Ok(true)
                })
            })
            .collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    for answer in answers {
        let answer = answer.map_err(|_| Finding::new("an answer in every thread", "a panic"))?;
        if !world.yes("every thread's secret", answer)? {
            return Err(Finding::new("every thread's own secret", "another's"));
        }
    }
    Ok(())
}

fn errors_name_the_vault(world: &World<'_>) -> Result<(), Finding> {
    let name = world.subject.provider.name().as_str();
    match world.seen().into_iter().find(|error| error.vault != name) {
        Some(error) => Err(Finding::new(format!("the vault '{name}'"), error.vault)),
        None => Ok(()),
    }
}

fn errors_hold_no_secret(world: &World<'_>) -> Result<(), Finding> {
    let digits: String = MARK.iter().map(|byte| format!("{byte:02x}")).collect();
    let decimal = format!("{MARK:?}");
    let forms = [
        String::from_utf8_lossy(MARK).into_owned(),
        digits.to_uppercase(),
        digits,
        // Without the brackets: the secret is longer than the mark. And without what depends on the bytes that follow.
        decimal.trim_matches(['[', ']']).to_owned(),
        front(Base64::encode_string(MARK)),
        front(Base64Url::encode_string(MARK)),
    ];
    for error in world.seen() {
        if forms.iter().any(|form| error.text.contains(form.as_str())) {
            // Not its text: that would print the secret once more.
            return Err(Finding::new("errors without secrets", format!("a secret in a {:?}", error.kind)));
        }
    }
    Ok(())
}

fn front(mut base64: String) -> String {
    base64.truncate(MARK.len() / 3 * 4);
    base64
}

/// What is left of a minute when no answer took its time.
const AT_ONCE_LEAVES: std::time::Duration = std::time::Duration::from_secs(55);
