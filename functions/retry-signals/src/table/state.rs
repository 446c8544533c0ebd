//! The scorer's progress and the learned model.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{Put, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem};
use signals::{Calibration, Model, Sample, WindowTime};

use super::item::{Item, bytes, number, read_bytes, read_number, text};
use super::{Signals, TableError};

const PARTITION: &str = "scorer";

/// How many days a model learns from.
const LEARNED_DAYS: u32 = 7;

/// How long a day's sample is kept.
const SAMPLE_LIFE_S: u64 = 9 * 24 * 60 * 60;

/// The most bytes of a sample: an item has 400 KB.
const MAX_SAMPLE_BYTES: usize = 380 * 1024;

/// The model is not learned from fewer windows of entities than this.
const ENOUGH_WINDOWS: u64 = 1000;

/// The scorer's state.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) progress: Progress,
    pub(crate) model: Model,
    pub(crate) calibration: Calibration,
    pub(crate) sample: DaySample,
}

/// Where the last run stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The start of the last window that was scored, in epoch seconds; `None` before the first.
    pub(crate) scored_s: Option<u64>,
    /// The day on which the model was learned.
    learned_day: Option<u32>,
}

/// The sample of a day.
#[derive(Clone, Debug, Default)]
pub(crate) struct DaySample {
    day: u32,
    pub(crate) sample: Sample,
    /// Windows of entities in it.
    pub(crate) windows: u64,
}

impl State {
    /// Starts a new sample if the window is on another day.
    pub(crate) fn begin_day(&mut self, at: WindowTime) {
        if self.sample.day != at.day() {
            self.sample = DaySample { day: at.day(), ..DaySample::default() };
        }
    }
}

impl Signals {
    /// The scorer's state after its last window.
    pub(crate) async fn state(&self) -> Result<State, TableError> {
        let Some(item) = self.scorer_item("state").await? else { return Ok(State::default()) };
        let calibration = read_bytes(&item, "calibration").map(Calibration::from_bytes);
        let sample_day = read_number(&item, "sample_day").unwrap_or(0);
        let model = self.scorer_item("model").await?;
        let model = model.as_ref().and_then(|item| read_bytes(item, "model"));
        // A model in another form is ignored, and learned again from the days' samples.
        let model = model.map_or_else(|| Ok(Model::default()), Model::from_bytes);
        let learned_day = read_number(&item, "learned_day").filter(|_| model.is_ok());
        Ok(State {
            progress: Progress { scored_s: read_number(&item, "scored"), learned_day },
            model: model.unwrap_or_default(),
            calibration: calibration
                .transpose()
                .map_err(|_| TableError::Item("scorer state".to_owned()))?
                .unwrap_or_default(),
            sample: self.sample(sample_day).await?,
        })
    }

    async fn scorer_item(&self, sort: &str) -> Result<Option<Item>, TableError> {
        let request = self.client.get_item().table_name(&self.name).key("pk", text(PARTITION)).key("sk", text(sort));
        Ok(request.consistent_read(true).send().await?.item)
    }

    async fn sample(&self, day: u32) -> Result<DaySample, TableError> {
        let Some(item) = self.scorer_item(&sample_key(day)).await? else {
            return Ok(DaySample { day, ..DaySample::default() });
        };
        // A sample in another form is ignored.
        let sample = read_bytes(&item, "sample").and_then(|bytes| Sample::from_bytes(bytes).ok());
        let windows = read_number(&item, "windows").filter(|_| sample.is_some()).unwrap_or(0);
        Ok(DaySample { day, sample: sample.unwrap_or_default(), windows })
    }

    /// Stores the state after a window, in one transaction, unless an earlier run has done so.
    pub(crate) async fn advance(&self, state: &State, at: WindowTime, fence: u64) -> Result<(), TableError> {
        let sample = Put::builder()
            .table_name(&self.name)
            .item("pk", text(PARTITION))
            .item("sk", text(sample_key(state.sample.day)))
            .item("windows", number(state.sample.windows))
            .item("expiration", number(at.end_s() + SAMPLE_LIFE_S));
        let stored = state.sample.sample.to_bytes();
        let sample = match stored.len() > MAX_SAMPLE_BYTES {
            // If the sample is too large for an item, the day's stored sample stays as it was.
            true => None,
            false => Some(sample.item("sample", bytes(stored))),
        };
        let progress = Put::builder()
            .table_name(&self.name)
            .item("pk", text(PARTITION))
            .item("sk", text("state"))
            .item("scored", number(at.start_s))
            .item("sample_day", number(state.sample.day))
            .item("calibration", bytes(state.calibration.to_bytes()))
            .item("fence", number(fence));
        let progress = match state.progress.learned_day {
            Some(day) => progress.item("learned_day", number(day)),
            None => progress,
        };
        let progress = progress
            .condition_expression("attribute_not_exists(pk) OR (#scored < :scored AND #fence <= :fence)")
            .expression_attribute_names("#scored", "scored")
            .expression_attribute_names("#fence", "fence")
            .expression_attribute_values(":scored", number(at.start_s))
            .expression_attribute_values(":fence", number(fence))
            .return_values_on_condition_check_failure(AllOld)
            .build()?;
        let writes = [Some(progress), sample.map(|sample| sample.build()).transpose()?];
        let writes = writes.into_iter().flatten().map(|put| TransactWriteItem::builder().put(put).build());
        let written = self.client.transact_write_items().set_transact_items(Some(writes.collect())).send().await;
        match written {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(error)) => match error.into_err() {
                TransactWriteItemsError::TransactionCanceledException(cancelled) => {
                    let found = cancelled.cancellation_reasons().first().and_then(|reason| reason.item());
                    let scored = found.and_then(|found| read_number::<u64>(found, "scored"));
                    let by = found.and_then(|found| read_number::<u64>(found, "fence"));
                    // Our own earlier try has scored exactly this window under this fence.
                    if (scored, by) == (Some(at.start_s), Some(fence)) { Ok(()) } else { Err(TableError::Fenced) }
                }
                error => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Learns the model again, once a day and as soon as there are enough windows.
    pub(crate) async fn learn(&self, state: &mut State, at: WindowTime, fence: u64) -> Result<bool, TableError> {
        let today = at.day();
        if state.progress.learned_day.is_some_and(|day| day >= today) {
            return Ok(false);
        }
        let (mut sample, mut windows) = (state.sample.sample.clone(), state.sample.windows);
        for day in today.saturating_sub(LEARNED_DAYS)..today {
            let earlier = self.sample(day).await?;
            sample.merge(&earlier.sample);
            windows += earlier.windows;
        }
        if windows < ENOUGH_WINDOWS {
            return Ok(false);
        }
        state.model = Model::learn(&sample);
        state.progress.learned_day = Some(today);
        self.keep_model(&state.model, today, fence).await?;
        Ok(true)
    }

    async fn keep_model(&self, model: &Model, day: u32, fence: u64) -> Result<(), TableError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .item("pk", text(PARTITION))
            .item("sk", text("model"))
            .item("model", bytes(model.to_bytes()))
            .item("day", number(day))
            .item("fence", number(fence))
            .condition_expression("attribute_not_exists(pk) OR #fence <= :fence")
            .expression_attribute_names("#fence", "fence")
            .expression_attribute_values(":fence", number(fence))
            .return_values_on_condition_check_failure(AllOld);
        match put.send().await {
            Ok(_) => Ok(()),
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Err(TableError::Fenced)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Stores a sample of an earlier day, as the scorer of that day would have: for tests that need a learned model.
    ///
    /// # Errors
    /// If there is one of that day already, or the table does not answer.
    pub async fn seed_sample(&self, day: u32, sample: &Sample, windows: u64) -> Result<(), TableError> {
        let put =
            self.client.put_item().table_name(&self.name).item("pk", text(PARTITION)).item("sk", text(sample_key(day)));
        let put = put.item("windows", number(windows)).item("sample", bytes(sample.to_bytes()));
        put.condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(AllOld)
            .send()
            .await?;
        Ok(())
    }
}

fn sample_key(day: u32) -> String {
    format!("sample#{day}")
}
