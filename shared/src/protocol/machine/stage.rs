//! The stages of a call.

use super::{Action, End, Purpose};
use crate::protocol::{ClaimRequest, EpochMs, Record, Resolution, Write};

/// The stage of a call. Each stage has exactly one action.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Recalling,
    LookingUp,
    Waiting {
        until: EpochMs,
    },
    Reading,
    Marking(Box<Write>),
    Claiming(Box<Write>),
    GivingUp(Box<Write>),
    /// A claim is held, and the operation runs.
    Held(Box<Claim>),
    Renewing {
        claim: Box<Claim>,
        extend: Box<Write>,
    },
    /// A claim is held as UNKNOWN, and the resolver looks for evidence.
    Resolving(Box<Claim>),
    Committing {
        claim: Box<Claim>,
        commit: Box<Write>,
        by_evidence: bool,
    },
    /// A settling or reopening write may or may not have taken effect. The abandon is refused if it did; otherwise it
    /// prevents a delayed request from taking effect later.
    FindingOut {
        claim: Box<Claim>,
        made: Box<Write>,
        abandon: Box<Write>,
        by_evidence: bool,
    },
    Releasing {
        claim: Box<Claim>,
        release: Box<Write>,
        again: bool,
    },
    Abandoning {
        claim: Box<Claim>,
        abandon: Box<Write>,
        by_evidence: bool,
    },
    Restarting {
        claim: Box<Claim>,
        restart: Box<Write>,
    },
    Reopening {
        claim: Box<Claim>,
        reopen: Box<Write>,
    },
    /// In single-write mode: the operation runs, and this write follows.
    Beginning(Box<Write>),
    Settling {
        settle: Box<Write>,
        with_effects: bool,
    },
    /// In single-write mode: the write found this record instead, and the next write needs a new token.
    Drawing(Option<Box<Record>>),
    Fetching {
        record: Box<Record>,
        resolution: Resolution,
        parts: u32,
        after_run: bool,
    },
    Done(End),
}

/// A claim that is held, as far as its owner knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Claim {
    /// The record as it was claimed.
    pub(super) record: Record,
    /// Whether an earlier attempt may have had its effects.
    pub(super) follows_uncertain: bool,
}

impl Stage {
    pub(super) fn action<'a>(&'a self, request: &'a ClaimRequest) -> Action<'a> {
        let write = |write: &'a Write, purpose| Action::Write { write, purpose };
        match self {
            Self::Recalling => Action::Recall(&request.id),
            Self::LookingUp => Action::LookUp(&request.id),
            Self::Waiting { until } => Action::Wait { until: *until },
            Self::Reading => Action::Read(&request.id),
            Self::Marking(mark) => write(mark, Purpose::Mark),
            Self::Claiming(claim) => write(claim, Purpose::Claim),
            Self::GivingUp(end) => write(end, Purpose::GiveUp),
            Self::Held(claim) => Action::Run(&claim.record),
            Self::Renewing { extend, .. } => write(extend, Purpose::Renew),
            Self::Resolving(claim) => Action::Resolve(&claim.record),
            Self::Committing { commit, .. } => write(commit, Purpose::Commit),
            Self::FindingOut { abandon, .. } | Self::Abandoning { abandon, .. } => write(abandon, Purpose::Abandon),
            Self::Releasing { release, .. } => write(release, Purpose::Release),
            Self::Restarting { restart, .. } => write(restart, Purpose::Restart),
            Self::Reopening { reopen, .. } => write(reopen, Purpose::Reopen),
            Self::Beginning(begin) => Action::Run(&begin.record),
            Self::Settling { settle, with_effects: true } => write(settle, Purpose::Settle),
            Self::Settling { settle, with_effects: false } => write(settle, Purpose::SettleAlone),
            Self::Drawing(_) => Action::Draw,
            Self::Fetching { record, parts, .. } => Action::ReadParts(record, *parts),
            Self::Done(end) => Action::Done(end),
        }
    }

    /// The claim that is held.
    pub(super) fn claim(&self) -> Option<&Claim> {
        match self {
            Self::Held(claim)
            | Self::Renewing { claim, .. }
            | Self::Resolving(claim)
            | Self::Committing { claim, .. }
            | Self::FindingOut { claim, .. }
            | Self::Releasing { claim, .. }
            | Self::Abandoning { claim, .. }
            | Self::Restarting { claim, .. }
            | Self::Reopening { claim, .. } => Some(claim),
            Self::Recalling
            | Self::LookingUp
            | Self::Waiting { .. }
            | Self::Reading
            | Self::Marking(_)
            | Self::Claiming(_)
            | Self::GivingUp(_)
            | Self::Beginning(_)
            | Self::Settling { .. }
            | Self::Drawing(_)
            | Self::Fetching { .. }
            | Self::Done(_) => None,
        }
    }

    /// Changes each record that the call holds or is about to write.
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn change_records(&mut self, change: &mut impl FnMut(&mut Record)) {
        match self {
            Self::Recalling
            | Self::LookingUp
            | Self::Waiting { .. }
            | Self::Reading
            | Self::Drawing(None)
            | Self::Done(_) => {}
            Self::Marking(write) | Self::Claiming(write) | Self::GivingUp(write) | Self::Beginning(write) => {
                change(&mut write.record);
            }
            Self::Settling { settle, .. } => change(&mut settle.record),
            Self::Held(claim) | Self::Resolving(claim) => change(&mut claim.record),
            Self::Renewing { claim, extend: write }
            | Self::Committing { claim, commit: write, .. }
            | Self::Releasing { claim, release: write, .. }
            | Self::Abandoning { claim, abandon: write, .. }
            | Self::Restarting { claim, restart: write }
            | Self::Reopening { claim, reopen: write } => {
                change(&mut claim.record);
                change(&mut write.record);
            }
            Self::FindingOut { claim, made, abandon, .. } => {
                change(&mut claim.record);
                change(&mut made.record);
                change(&mut abandon.record);
            }
            Self::Drawing(Some(record)) | Self::Fetching { record, .. } => change(record),
        }
    }
}
