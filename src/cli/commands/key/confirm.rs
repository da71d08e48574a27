//! The one place at which a person hears what a change will cost, and may say no.

use std::io::{self, BufRead, IsTerminal, Write};

use sobre::manage::Impact;

use crate::cli::args::Change;
use crate::cli::commands::key::impact;
use crate::cli::exit::Failure;
use crate::cli::report::Output;

/// What is about to be done to a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deed<'a> {
    /// As in `delete`.
    pub(super) verb: &'static str,
    /// The key or version.
    pub(super) id: &'a str,
    /// What it means, in one sentence.
    pub(super) meaning: &'a str,
    /// What goes with it; `None` for what takes nothing out of use.
    pub(super) impact: Option<&'a Impact>,
    /// Whether somebody has said that it may. Not the same as saying yes: that is said by scripts.
    pub(super) accept_loss: bool,
    /// Whether somebody must say yes. What can be undone by one command needs none.
    pub(super) ask: bool,
}

impl Deed<'_> {
    /// Says after the deed what was lost with it, if somebody had to accept that.
    pub(super) fn mourn(&self, output: &Output) {
        if let Some(loss) = self.impact.and_then(impact::loss) {
            output.warn(format_args!("accepted with --accept-loss: {loss}"));
        }
    }
}

/// Says what a deed means and asks for it. Returns whether it is to be done: not in a dry run.
///
/// Everything that takes a key out of use comes through here. A dry run fails where the deed would.
pub(super) fn confirm(deed: Deed<'_>, change: Change, output: &Output) -> Result<bool, Failure> {
    let Deed { verb, id, meaning, ask, .. } = deed;
    let loss = deed.impact.and_then(impact::loss);
    if change.dry_run {
        output.say(meaning);
    }
    if let Some(impact) = deed.impact
        && (loss.is_some() || change.dry_run)
    {
        impact::tell(impact, |line| output.say(line));
    }
    if let (Some(loss), false) = (loss, deed.accept_loss) {
        return Err(Failure {
            kind: "refused",
            code: 14,
            message: format!("{id} stays as it is: {loss}"),
            advice: Some(format!(
                "make snapshots known with 'sobre catalog add DIR', prove what they say with 'sobre verify SNAP', move them to another \
                 key with 'sobre rewrap'; or accept it: sobre key {verb} {id} --accept-loss"
            )),
        });
    }
    if change.dry_run {
        return Ok(false);
    }
    if !ask || change.yes {
        return Ok(true);
    }
    let refuse =
        |message: String| Failure::usage(message, format!("say so beforehand with: sobre key {verb} {id} --yes"));
    if !io::stdin().is_terminal() {
        return Err(refuse(format!("nobody can be asked whether to {verb} {id}: there is no terminal")));
    }
    output.warn(meaning);
    let mut stderr = io::stderr();
    let _ = write!(stderr, "To {verb} {id}, type its name: ");
    let _ = stderr.flush();
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    let name = id.rsplit('/').next().unwrap_or(id);
    match answer.trim() {
        text if text == id || text == name => Ok(true),
        _ => Err(refuse(format!("that is not its name; {id} stays as it is"))),
    }
}
