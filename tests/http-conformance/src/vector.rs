//! The members of a case.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The document from which a case follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// draft-ietf-httpapi-idempotency-key-header-07.
    Draft,
    /// A profile of the draft, which decides what the draft leaves open.
    Profile,
    /// The parts of the draft that are visible from outside, at one operation of any API.
    Operation,
}

/// A facility that an implementation may be unable to offer to the runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// `GET /executions/CASE` counts the executions of a case.
    Executions,
    /// The header `x-store` makes the store of records unreachable for one request.
    Store,
    /// The header `x-deadline-ms` sets the time that the handler has left.
    Deadline,
    /// `POST /records/forget` and `POST /records/plant` change the stored records.
    Records,
    /// `/crash` and `/pay?crash=1` end the process.
    Crash,
    /// Routes whose operations have other settings: `/repeatable`, `/timed`, `/brief`, `/bytes`, `/selected`,
    /// `/chosen`.
    Options,
    /// The API answers CORS requests.
    Cors,
    /// `Idempotency-Replayed` marks a replay. Without it, the other expectations of a case are still checked.
    Marker,
    /// A refusal is a problem document of the profile. Without it, only its status is checked.
    Problems,
}

impl Need {
    /// Without one of these, a case still runs, but part of it is not checked.
    pub(crate) const SOFT: [Self; 3] = [Self::Executions, Self::Marker, Self::Problems];
}

/// A sequence of steps under its own idempotency key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The name, which says what the case proves.
    pub name: String,
    /// The document from which it follows, which its file names.
    #[serde(skip, default = "draft")]
    pub tier: Tier,
    /// The case is skipped if the implementation lacks one of these.
    #[serde(default)]
    pub needs: Vec<Need>,
    pub(crate) steps: Vec<Step>,
}

/// One action, and its expected results.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Step {
    /// The request.
    pub(crate) send: Option<Request>,
    /// The request of an earlier step, with the members of `with` instead of its own.
    pub(crate) again: Option<usize>,
    pub(crate) with: Request,
    /// The number of times that the request is sent, all at once.
    pub(crate) times: Option<usize>,
    /// The next step begins without waiting for the answer.
    pub(crate) start: bool,
    /// Waits for the answer of an earlier step that was started.
    pub(crate) join: Option<usize>,
    /// Repeats the request as a client does: after `Retry-After`, for as long as the answer allows it.
    pub(crate) retry: bool,
    /// Waits before anything else.
    pub(crate) wait_ms: Option<u64>,
    /// Expectations of every answer.
    pub(crate) expect: Option<Expect>,
    /// Alternatives; every answer must meet one of them.
    pub(crate) expect_any: Vec<Expect>,
    /// The executions of the case so far.
    pub(crate) executions: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Request {
    pub(crate) method: Option<String>,
    pub(crate) path: Option<String>,
    /// The caller. `null` sends no credentials.
    #[serde(deserialize_with = "present")]
    pub(crate) principal: Option<Option<String>>,
    /// Uses a new token.
    pub(crate) fresh_token: bool,
    /// A string, a list of strings for several header lines, or `null` to omit the header.
    pub(crate) headers: BTreeMap<String, Value>,
    pub(crate) body: Option<String>,
    pub(crate) body_base64: Option<String>,
    /// The length of a generated body.
    pub(crate) body_bytes: Option<usize>,
}

impl Step {
    /// The facilities that the step's expectations need.
    pub(crate) fn checks_with(&self) -> Vec<Need> {
        let expects = || self.expect.iter().chain(&self.expect_any);
        let all = [
            (Need::Executions, self.executions.is_some()),
            (Need::Marker, expects().any(|expect| expect.replay.is_some())),
            (Need::Problems, expects().any(|expect| expect.problem.is_some())),
        ];
        all.into_iter().filter(|(_, looks)| *looks).map(|(need, _)| need).collect()
    }
}

impl Request {
    /// This request with the members of `other` instead of its own.
    pub(crate) fn with(&self, other: &Self) -> Self {
        let other = other.clone();
        let body = other.body.is_some() || other.body_base64.is_some() || other.body_bytes.is_some();
        let mut headers = self.headers.clone();
        headers.extend(other.headers);
        Self {
            method: other.method.or_else(|| self.method.clone()),
            path: other.path.or_else(|| self.path.clone()),
            principal: other.principal.or_else(|| self.principal.clone()),
            fresh_token: other.fresh_token,
            headers,
            body: if body { other.body } else { self.body.clone() },
            body_base64: if body { other.body_base64 } else { self.body_base64.clone() },
            body_bytes: if body { other.body_bytes } else { self.body_bytes },
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expect {
    pub(crate) status: Option<Status>,
    /// The code of a problem document; the whole document is then checked.
    pub(crate) problem: Option<String>,
    /// Whether it is marked as a replay.
    pub(crate) replay: Option<bool>,
    pub(crate) headers: BTreeMap<String, HeaderRule>,
    pub(crate) body: Option<String>,
    pub(crate) body_bytes: Option<usize>,
    /// The step whose answer had the same bytes.
    pub(crate) same_body_as: Option<usize>,
    pub(crate) other_body_than: Option<usize>,
    /// Headers whose values must be those of an earlier answer.
    pub(crate) same_headers_as: Option<SameHeaders>,
    /// The number of answers that must meet this.
    pub(crate) count: Option<usize>,
    /// Whether all answers of the step that meet this must have the same body.
    pub(crate) one_body: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Status {
    One(u16),
    OneOf(Vec<u16>),
    /// `2xx`, `4xx`, …
    Class(String),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SameHeaders {
    pub(crate) step: usize,
    pub(crate) names: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum HeaderRule {
    /// `null`: the header must be absent.
    Absent(()),
    Equal(String),
    /// An integer in this range, both ends included.
    Integer {
        integer: [u64; 2],
    },
    /// A string that contains this one.
    Contains {
        contains: String,
    },
}

/// Distinguishes `null` from an absent member.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

const fn draft() -> Tier {
    Tier::Draft
}
