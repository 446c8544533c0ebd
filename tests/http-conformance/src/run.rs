//! Runs cases, several at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures::StreamExt;
use futures::future::join_all;
use tokio::task::JoinHandle;

use crate::client::{Answer, Client, Names};
use crate::report::{Outcome, Report, Verdict};
use crate::vector::{Case, Expect, Need, Request, Step, Tier};

/// How long the runner repeats a request before the case fails.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The selection of cases, and how they run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The tiers to run.
    pub tiers: Vec<Tier>,
    /// Run only cases whose names contain this text.
    pub only: Option<String>,
    /// The facilities that the implementation does not have.
    pub lacks: BTreeSet<Need>,
    /// The number of cases that run at the same time.
    pub jobs: usize,
}

/// Runs cases. `progress` is called after each case, with the number of finished cases and of all cases.
pub async fn run(
    client: Client,
    cases: Vec<Case>,
    options: &Options,
    progress: impl Fn(usize, usize, &Outcome),
) -> Report {
    let wanted: Vec<Case> = cases
        .into_iter()
        .filter(|case| options.tiers.contains(&case.tier))
        .filter(|case| options.only.as_ref().is_none_or(|part| case.name.contains(part)))
        .collect();
    let (client, total) = (Arc::new(client), wanted.len());
    let mut running = futures::stream::iter(wanted.into_iter().enumerate())
        .map(|(index, case)| {
            let client = Arc::clone(&client);
            async move { (index, one(client, case, &options.lacks).await) }
        })
        .buffer_unordered(options.jobs.max(1));
    let mut outcomes = BTreeMap::new();
    while let Some((index, outcome)) = running.next().await {
        progress(outcomes.len() + 1, total, &outcome);
        outcomes.insert(index, outcome);
    }
    Report { outcomes: outcomes.into_values().collect() }
}

async fn one(client: Arc<Client>, case: Case, lacks: &BTreeSet<Need>) -> Outcome {
    let started = Instant::now();
    let (name, tier) = (case.name.clone(), case.tier);
    let lacking = |need: &Need| lacks.contains(need);
    let missing: Vec<Need> = case.needs.iter().copied().filter(lacking).collect();
    let checks: BTreeSet<Need> = case.steps.iter().flat_map(Step::checks_with).collect();
    let unchecked: Vec<Need> = Need::SOFT.into_iter().filter(|need| lacking(need) && checks.contains(need)).collect();
    let verdict = if missing.is_empty() {
        match Running::new(client, lacks.clone()).case(case).await {
            Ok(()) => Verdict::Passed { unchecked },
            Err(error) => Verdict::Failed(format!("{error:#}")),
        }
    } else {
        Verdict::Skipped(missing)
    };
    Outcome { name, tier, verdict, took: started.elapsed() }
}

struct Running {
    client: Arc<Client>,
    names: Names,
    /// The request of each step, and its answer: the first success if there is one, otherwise the first answer.
    answers: BTreeMap<usize, (Request, Option<Answer>)>,
    started: BTreeMap<usize, JoinHandle<Result<Answer>>>,
    lacks: BTreeSet<Need>,
}

impl Running {
    fn new(client: Arc<Client>, lacks: BTreeSet<Need>) -> Self {
        Self { client, names: Names::new(), answers: BTreeMap::new(), started: BTreeMap::new(), lacks }
    }

    async fn case(mut self, case: Case) -> Result<()> {
        for (index, step) in case.steps.iter().enumerate() {
            self.step(index, step).await.with_context(|| format!("step {index}"))?;
        }
        ensure!(self.started.is_empty(), "the case starts a step that it does not join");
        Ok(())
    }

    async fn step(&mut self, index: usize, step: &Step) -> Result<()> {
        if let Some(milliseconds) = step.wait_ms {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        }
        let answers = self.answers(index, step).await?;
        self.check(step, &answers)?;
        // For requests that were sent at once, a success counts: a refusal only shows that they overlapped.
        let success = answers.iter().position(|answer| (200..300).contains(&answer.status)).unwrap_or(0);
        if let Some(kept) = answers.into_iter().nth(success) {
            self.answers.entry(index).or_default().1 = Some(kept);
        }
        match step.executions {
            Some(expected) if !self.lacks.contains(&Need::Executions) => {
                let executions = self.client.executions(&self.names).await?;
                ensure!(executions == expected, "executed {executions} times instead of {expected}");
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    async fn answers(&mut self, index: usize, step: &Step) -> Result<Vec<Answer>> {
        if let Some(started) = step.join {
            let task = self.started.remove(&started).ok_or_else(|| anyhow!("step {started} was not started"))?;
            return Ok(vec![task.await??]);
        }
        let request = match (&step.send, step.again) {
            (Some(request), _) => request.clone(),
            (None, Some(earlier)) => {
                let (request, _) =
                    self.answers.get(&earlier).ok_or_else(|| anyhow!("step {earlier} sent no request"))?;
                request.with(&step.with)
            }
            (None, None) => return Ok(Vec::new()),
        };
        self.answers.insert(index, (request.clone(), None));
        if step.start {
            let (client, names) = (Arc::clone(&self.client), self.names.clone());
            self.started.insert(index, tokio::spawn(async move { client.send(&request, &names).await }));
            return Ok(Vec::new());
        }
        if step.retry {
            return Ok(vec![self.until_final(&request).await?]);
        }
        let all = (0..step.times.unwrap_or(1)).map(|_| self.client.send(&request, &self.names));
        join_all(all).await.into_iter().collect()
    }

    /// Repeats a request as a client does: after `Retry-After`, until the answer is final.
    async fn until_final(&self, request: &Request) -> Result<Answer> {
        let started = Instant::now();
        loop {
            let answer = self.client.send(request, &self.names).await?;
            let in_progress = answer.status == 409 && answer.json()["retryable"] != false;
            let retryable = answer.status >= 500 || in_progress || answer.json()["retryable"] == true;
            if !retryable {
                return Ok(answer);
            }
            if started.elapsed() > TIMEOUT {
                bail!("no final answer in {TIMEOUT:?}: {}", answer.shown());
            }
            let seconds = answer.header("retry-after").and_then(|text| text.parse().ok()).unwrap_or(1);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    }

    fn check(&self, step: &Step, answers: &[Answer]) -> Result<()> {
        let earlier = |step: usize| self.answers.get(&step).and_then(|(_, answer)| answer.as_ref());
        let alternatives: Vec<&Expect> = step.expect.iter().chain(&step.expect_any).collect();
        if alternatives.is_empty() {
            return Ok(());
        }
        ensure!(!answers.is_empty(), "the case expects an answer of a step that has none");
        let mut matching: Vec<Vec<&Answer>> = vec![Vec::new(); alternatives.len()];
        for answer in answers {
            let faults: Vec<_> =
                alternatives.iter().map(|expect| expect.faults(answer, &self.names, &self.lacks, &earlier)).collect();
            match faults.iter().position(Vec::is_empty) {
                Some(alternative) => matching[alternative].push(answer),
                None => bail!("{}", faults.iter().map(|faults| faults.join("; ")).collect::<Vec<_>>().join(" | or: ")),
            }
        }
        for (expect, matching) in alternatives.iter().zip(matching) {
            if let Some(expected) = expect.count {
                let count = matching.len();
                ensure!(count == expected, "{count} answers instead of {expected} match {expect:?}");
            }
            if let (true, [first, rest @ ..]) = (expect.one_body, &matching[..])
                && let Some(other) = rest.iter().find(|answer| answer.body != first.body)
            {
                bail!("the answers to the same request differ: {} and {}", first.shown(), other.shown());
            }
        }
        Ok(())
    }
}
