//! Times and starts at the CPU shares of Lambda's memory sizes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::cases::Case;
use crate::cold;
use crate::database::Database;
use crate::kind::Kind;
use crate::options::Choice;
use crate::share::Share;
use crate::stage::Stage;
use crate::statistics::{median, quantile};
use crate::subject::Subject;
use crate::tls::Certificates;

/// Memory sizes in MB.
pub const SIZES_MB: [u32; 4] = [128, 256, 512, 1_769];

/// The cases that are measured at each size.
const CASES: [Case; 3] = [Case::FirstRun, Case::ReplayElsewhere, Case::Batch10];

/// The minimum time of each request to the store.
const DELAY: Duration = Duration::from_millis(5);

/// USD for a GB-second on arm64.
const USD_PER_GB_S: f64 = 0.000_013_333_4;

/// The figures of a subject at a size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AtSize {
    /// The subject.
    pub subject: String,
    /// The memory size in MB.
    pub megabytes: u32,
    /// The median time from spawning the process to its first answer, in milliseconds.
    pub first_answer_ms: f64,
    /// The figures of each case.
    pub cases: Vec<CaseAtSize>,
}

/// The figures of one case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CaseAtSize {
    /// The case.
    pub case: String,
    /// The median time of an invocation, in milliseconds.
    pub p50_ms: f64,
    /// The time below which 99 of 100 invocations stayed, in milliseconds.
    pub p99_ms: f64,
    /// The cost of a million invocations, by their mean time and the memory size, in USD.
    pub usd_per_million: f64,
}

/// Measures the subjects at each size, one after another in short turns.
///
/// # Errors
/// When control groups are not available or do not throttle, or a subject does not behave as expected.
pub async fn measure(subjects: &[(Kind, Subject)], choice: &Choice) -> Result<Vec<AtSize>> {
    let certificates =
        Arc::new(Certificates::make(&std::env::temp_dir().join(format!("bench-{}", std::process::id())))?);
    let database = || Database::start_with_tls(Arc::clone(&certificates));
    let mut rows = Vec::new();
    for megabytes in SIZES_MB {
        let share = Share::of_mb(megabytes)?;
        let inside: Vec<(Kind, Subject)> = subjects.iter().map(|(kind, subject)| (*kind, share.of(subject))).collect();
        let all: Vec<Subject> = inside.iter().map(|(_, subject)| subject.clone()).collect();
        eprintln!("{megabytes} MB: starts …");
        let starts = cold::starts_on(database, &all, choice.starts.div_ceil(3)).await?;
        let mut measured: Vec<AtSize> = starts
            .iter()
            .map(|start| AtSize {
                subject: start.subject.clone(),
                megabytes,
                first_answer_ms: milliseconds(start.first_answer),
                cases: Vec::new(),
            })
            .collect();
        for case in CASES {
            eprintln!("{megabytes} MB: {case} …");
            for (figures, at_size) in
                of_case(case, megabytes, &inside, database, choice).await?.into_iter().zip(&mut measured)
            {
                at_size.cases.extend(figures);
            }
        }
        if megabytes < 1_000 {
            share.expect_throttled()?;
        }
        rows.extend(measured);
    }
    Ok(rows)
}

/// Measures one case for each subject; `None` for subjects for which the case is not meaningful.
async fn of_case<D: Future<Output = Result<Database>>>(
    case: Case,
    megabytes: u32,
    subjects: &[(Kind, Subject)],
    database: impl Fn() -> D,
    choice: &Choice,
) -> Result<Vec<Option<CaseAtSize>>> {
    let invocations = (choice.invocations / 10).max(10);
    let turns = 5;
    let mut stages = Vec::new();
    for (kind, subject) in subjects {
        stages.push(match case.is_for(*kind) {
            true => {
                let mut stage = Stage::prepare_on(database().await?, subject, case, 5 + invocations).await?;
                stage.turn(5).await?;
                stage.delay(DELAY);
                Some((stage, Vec::new()))
            }
            false => None,
        });
    }
    for _ in 0..turns {
        for (stage, durations) in stages.iter_mut().flatten() {
            durations.extend(stage.turn(invocations / turns).await?.durations);
        }
    }
    let figures = |(_, durations): (Stage, Vec<Duration>)| {
        let mean = durations.iter().sum::<Duration>().as_secs_f64() / f64::from(u32::try_from(durations.len())?);
        anyhow::Ok(CaseAtSize {
            case: case.to_string(),
            p50_ms: milliseconds(median(&durations)),
            p99_ms: milliseconds(quantile(&durations, 0.99)),
            usd_per_million: mean * f64::from(megabytes) / 1024.0 * USD_PER_GB_S * 1e6,
        })
    };
    stages.into_iter().map(|stage| stage.map(figures).transpose()).collect()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
