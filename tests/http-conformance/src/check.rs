//! Compares an answer with the expectations of a step.

use std::collections::BTreeSet;

use crate::client::{Answer, Names};
use crate::vector::{Expect, HeaderRule, Need, Status};

/// The answers of the earlier steps, by step.
pub(crate) type Earlier<'a> = &'a dyn Fn(usize) -> Option<&'a Answer>;

impl Expect {
    /// The unmet expectations of an answer, among those that can be checked.
    pub(crate) fn faults(
        &self,
        answer: &Answer,
        names: &Names,
        lacks: &BTreeSet<Need>,
        earlier: Earlier<'_>,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(status) = &self.status
            && !status.allows(answer.status)
        {
            faults.push(format!("expected {status:?}, got {}", answer.shown()));
        }
        if let Some(code) = &self.problem
            && !lacks.contains(&Need::Problems)
        {
            faults.extend(problem_faults(code, answer, names));
        }
        match (self.replay.filter(|_| !lacks.contains(&Need::Marker)), answer.header("idempotency-replayed")) {
            (Some(true), Some(value)) if value == "true" => {}
            (Some(true), value) => faults.push(format!("not marked as a replay: {value:?}, {}", answer.shown())),
            (Some(false), Some(value)) => faults.push(format!("marked as a replay: {value}")),
            (Some(false) | None, _) => {}
        }
        for (name, rule) in &self.headers {
            faults.extend(rule.fault(name, answer.header(name)));
        }
        faults.extend(self.body_faults(answer, earlier));
        if let Some(same) = &self.same_headers_as {
            for name in &same.names {
                let (here, there) = (answer.header(name), earlier(same.step).and_then(|answer| answer.header(name)));
                if here.is_none() || here != there {
                    faults.push(format!("{name} is {here:?}, in step {} it was {there:?}", same.step));
                }
            }
        }
        faults
    }

    fn body_faults(&self, answer: &Answer, earlier: Earlier<'_>) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(body) = &self.body
            && body.as_bytes() != answer.body
        {
            faults.push(format!("expected the body {body:?}, got {}", answer.shown()));
        }
        if let Some(bytes) = self.body_bytes
            && bytes != answer.body.len()
        {
            faults.push(format!("expected {bytes} bytes, got {}", answer.body.len()));
        }
        if let Some(step) = self.same_body_as
            && earlier(step).is_none_or(|other| other.body != answer.body)
        {
            faults.push(format!("the body differs from that of step {step}: {}", answer.shown()));
        }
        if let Some(step) = self.other_body_than
            && earlier(step).is_none_or(|other| other.body == answer.body)
        {
            faults.push(format!("the body is that of step {step}: {}", answer.shown()));
        }
        faults
    }
}

impl Status {
    fn allows(&self, status: u16) -> bool {
        match self {
            Self::One(one) => *one == status,
            Self::OneOf(several) => several.contains(&status),
            Self::Class(class) => class.strip_suffix("xx") == Some(&(status / 100).to_string()),
        }
    }
}

impl HeaderRule {
    fn fault(&self, name: &str, value: Option<String>) -> Option<String> {
        let holds = match (self, &value) {
            (Self::Absent(()), value) => value.is_none(),
            (Self::Equal(expected), Some(value)) => expected == value,
            (Self::Integer { integer: [from, to] }, Some(value)) => {
                value.parse().is_ok_and(|number: u64| (*from..=*to).contains(&number))
            }
            (Self::Contains { contains }, Some(value)) => value.contains(contains.as_str()),
            (Self::Equal(_) | Self::Integer { .. } | Self::Contains { .. }, None) => false,
        };
        (!holds).then(|| format!("{name} is {value:?}, expected {self:?}"))
    }
}

/// The faults of an answer that must be a problem document of the profile.
fn problem_faults(code: &str, answer: &Answer, names: &Names) -> Vec<String> {
    let problem = answer.json();
    let text = |member: &str| problem[member].as_str().is_some_and(|text| !text.is_empty());
    let checks = [
        (problem["code"] == code, format!("expected the problem {code}, got {}", answer.shown())),
        (
            answer.header("content-type").as_deref() == Some("application/problem+json"),
            "the content type is not application/problem+json".into(),
        ),
        (answer.header("cache-control").as_deref() == Some("no-store"), "Cache-Control: no-store is missing".into()),
        (
            answer.header("link").is_some_and(|link| link.contains("rel=\"describedby\"")),
            "no link to the API's documentation".into(),
        ),
        (["type", "title", "detail"].into_iter().all(text), format!("a member is missing: {problem}")),
        (problem["status"] == answer.status, "the member `status` differs from the status".into()),
        (problem["retryable"].is_boolean(), "the member `retryable` is missing".into()),
        (
            problem["retryable"] == answer.headers.contains_key("retry-after"),
            "`retryable` and Retry-After disagree".into(),
        ),
        (answer.header("idempotency-replayed").is_none(), "a problem is marked as a replay".into()),
        (!String::from_utf8_lossy(&answer.body).contains(&names.key), "the body shows the key".into()),
    ];
    checks.into_iter().filter(|(holds, _)| !holds).map(|(_, fault)| fault).collect()
}
