//! What a vector says.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a case rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// draft-ietf-httpapi-idempotency-key-header-07.
    Draft,
    /// What the draft leaves open and `docs/http.md` decides.
    Profile,
}

/// What an implementation may be unable to offer to the runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// `GET /executions/CASE` counts what was executed.
    Executions,
    /// `x-store` takes the store of records away for a request.
    Store,
    /// `x-deadline-ms` brings the deadline of the function nearer.
    Deadline,
    /// `POST /records/forget` and `POST /records/plant` change the stored records.
    Records,
    /// `/crash` and `/pay?crash=1` end the process.
    Crash,
    /// Routes whose operations are configured otherwise: `/repeatable`, `/brief`, `/bytes`, `/selected`, `/chosen`.
    Options,
    /// The API answers CORS requests.
    Cors,
    /// `Idempotency-Replayed` marks a replay. Without it the other expectations of a case are still looked at.
    Marker,
    /// A refusal is a problem of the contract. Without it only its status is looked at.
    Problems,
}

impl Need {
    /// Without these a case still runs, and part of it is not looked at.
    pub(super) const SOFT: [Self; 3] = [Self::Executions, Self::Marker, Self::Problems];
}

/// A sequence of steps under a key of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it proves.
    pub name: String,
    /// What it rests on; from its file.
    #[serde(skip, default = "draft")]
    pub tier: Tier,
    /// Without these it is skipped.
    #[serde(default)]
    pub needs: Vec<Need>,
    pub(super) steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tier: Tier,
    cases: Vec<Case>,
}

/// One thing that is done, and what must be seen then.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Step {
    /// The request.
    pub(super) send: Option<Request>,
    /// The request of an earlier step, in which what `with` names is replaced.
    pub(super) again: Option<usize>,
    pub(super) with: Request,
    /// So many times, all at once.
    pub(super) times: Option<usize>,
    /// Its answer is not waited for.
    pub(super) start: bool,
    /// Waits for the answer of a step that was started.
    pub(super) join: Option<usize>,
    /// Is repeated as a client does: after `Retry-After`, for as long as the answer says that it may be.
    pub(super) retry: bool,
    /// Only waits.
    pub(super) wait_ms: Option<u64>,
    /// What the answer must be; of several answers, each.
    pub(super) expect: Option<Expect>,
    /// Of several answers, each must be one of these.
    pub(super) expect_any: Vec<Expect>,
    /// How often the case was executed so far.
    pub(super) executions: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Request {
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    /// Who asks. `null`: nobody.
    #[serde(deserialize_with = "present")]
    pub(super) principal: Option<Option<String>>,
    /// With a token that was not used before.
    pub(super) fresh_token: bool,
    /// A text, several texts for several header lines, or `null` for none.
    pub(super) headers: BTreeMap<String, Value>,
    pub(super) body: Option<String>,
    pub(super) body_base64: Option<String>,
    /// A body of so many bytes.
    pub(super) body_bytes: Option<usize>,
}

impl Step {
    /// What it cannot be looked at without.
    pub(super) fn looks_at(&self) -> Vec<Need> {
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
    /// This request with what `other` names.
    pub(super) fn with(&self, other: &Self) -> Self {
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
pub(super) struct Expect {
    pub(super) status: Option<Status>,
    /// The code of a problem; the whole problem is then checked.
    pub(super) problem: Option<String>,
    /// Whether it is marked as a replay.
    pub(super) replay: Option<bool>,
    pub(super) headers: BTreeMap<String, HeaderRule>,
    pub(super) body: Option<String>,
    pub(super) body_bytes: Option<usize>,
    /// The same bytes as in the answer of this step.
    pub(super) same_body_as: Option<usize>,
    pub(super) other_body_than: Option<usize>,
    /// The same values of these headers as in the answer of this step.
    pub(super) same_headers_as: Option<SameHeaders>,
    /// Of several answers, so many must be like this.
    pub(super) count: Option<usize>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Status {
    One(u16),
    OneOf(Vec<u16>),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SameHeaders {
    pub(super) step: usize,
    pub(super) names: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum HeaderRule {
    /// `null`: it must not be there.
    Absent(()),
    Equal(String),
    /// It must be an integer from the first to the second.
    Integer {
        integer: [u64; 2],
    },
    /// It must contain this.
    Contains {
        contains: String,
    },
}

/// Tells a `null` from nothing.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

const fn draft() -> Tier {
    Tier::Draft
}

/// Reads all vectors of a folder that are sent over HTTP, in the order of the files' names.
///
/// # Errors
/// A file cannot be read, or is no vector; two cases have one name.
pub fn load(folder: &Path) -> Result<Vec<Case>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths: Vec<_> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    // The `aws` tier is below HTTP: its vectors are events of API Gateway.
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "json") && !path.ends_with("aws.json"));
    paths.sort();
    let mut cases: Vec<Case> = Vec::new();
    for path in paths {
        let context = || format!("in {}", path.display());
        let file: File = serde_json::from_slice(&std::fs::read(&path)?).with_context(context)?;
        for case in file.cases {
            let name = &case.name;
            ensure!(cases.iter().all(|other| other.name != *name), "two cases are called {name}");
            cases.push(Case { tier: file.tier, ..case });
        }
    }
    ensure!(!cases.is_empty(), "no vectors in {}", folder.display());
    Ok(cases)
}
