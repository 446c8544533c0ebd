//! The ledger's queue and the queues of dead letters.

mod letter;

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, MessageSystemAttributeName, QueueAttributeName};
use aws_sdk_sqs::{Client, Config};
use idempotency::store::dynamodb::sdk_config;
use payments::{MissingSetting, setting};

pub(crate) use letter::DeadLetter;

/// The queues of the stack, by their URLs.
pub(crate) struct Queues {
    client: Client,
    ledger: String,
    ledger_dead_letters: String,
    follow_up_dead_letters: String,
}

/// How many messages are in a queue, approximately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Depth {
    /// Messages that are not in flight.
    pub(crate) waiting: u64,
    pub(crate) in_flight: u64,
}

/// The depths of the queues on the home page; `Err` has the reason why a depth is not known.
pub(crate) struct Depths {
    pub(crate) ledger: Result<Depth, String>,
    pub(crate) ledger_dead_letters: Result<Depth, String>,
    pub(crate) follow_up_dead_letters: Result<Depth, String>,
}

/// The most messages that one request receives.
const BATCH: i32 = 10;

/// How long received messages are hidden during a search: longer than the function runs. After that they become visible
/// again.
const HIDDEN: Duration = Duration::from_secs(30);

/// How many times ten messages are received to find one.
const ROUNDS: usize = 5;

impl Queues {
    pub(crate) fn of_environment() -> Result<Self, MissingSetting> {
        // A long poll queries all of a queue's servers; it lasts a second.
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(1))
            .operation_attempt_timeout(Duration::from_secs(3))
            .operation_timeout(Duration::from_secs(4));
        let config = Config::new(&sdk_config("SQS")).to_builder().timeout_config(timeouts.build()).build();
        Ok(Self {
            client: Client::from_conf(config),
            ledger: setting("LEDGER_QUEUE")?,
            ledger_dead_letters: setting("LEDGER_DEAD_LETTERS")?,
            follow_up_dead_letters: setting("FOLLOW_UP_DEAD_LETTERS")?,
        })
    }

    pub(crate) async fn depths(&self) -> Depths {
        let (ledger, ledger_dead_letters, follow_up_dead_letters) = tokio::join!(
            self.depth(&self.ledger),
            self.depth(&self.ledger_dead_letters),
            self.depth(&self.follow_up_dead_letters)
        );
        Depths { ledger, ledger_dead_letters, follow_up_dead_letters }
    }

    async fn depth(&self, queue: &str) -> Result<Depth, String> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Visible, ApproximateNumberOfMessagesDelayed as Delayed,
            ApproximateNumberOfMessagesNotVisible as InFlight,
        };
        let request = self.client.get_queue_attributes().queue_url(queue);
        let request =
            [Visible, InFlight, Delayed].into_iter().fold(request, |request, name| request.attribute_names(name));
        let answer = request.send().await.map_err(|error| {
            let error = aws_sdk_sqs::Error::from(error);
            tracing::warn!(error = &error as &dyn std::error::Error, "the depth of a queue could not be read");
            "SQS did not answer, or the role does not allow it".to_owned()
        })?;
        let number = |name| {
            let value = answer.attributes().and_then(|attributes| attributes.get(&name));
            value.and_then(|value| value.parse::<u64>().ok()).unwrap_or_default()
        };
        Ok(Depth { waiting: number(Visible) + number(Delayed), in_flight: number(InFlight) })
    }

    /// Some of the ledger's dead letters, each once, and oldest first. They stay visible to everybody.
    pub(crate) async fn dead_letters(&self) -> Result<Vec<DeadLetter>, aws_sdk_sqs::Error> {
        let received = self.receive(Duration::ZERO).await?;
        // Messages that are not hidden may be received twice.
        let letters: BTreeMap<_, _> =
            received.into_iter().map(|letter| ((letter.sent, letter.id.clone()), letter)).collect();
        Ok(letters.into_values().collect())
    }

    /// The dead letter with this id, hidden from other receivers. Messages that were received during the search are
    /// collected.
    pub(crate) async fn find(
        &self,
        id: &str,
        others: &mut Vec<DeadLetter>,
    ) -> Result<Option<DeadLetter>, aws_sdk_sqs::Error> {
        for _ in 0..ROUNDS {
            let received = self.receive(HIDDEN).await?;
            if received.is_empty() {
                break;
            }
            let (mut found, rest): (Vec<_>, Vec<_>) = received.into_iter().partition(|letter| letter.id == id);
            others.extend(rest);
            if let Some(found) = found.pop() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Sends a dead letter to the ledger's queue again, and then deletes it.
    pub(crate) async fn move_back(&self, letter: &DeadLetter) -> Result<(), aws_sdk_sqs::Error> {
        let attributes = Some(letter.attributes.clone()).filter(|attributes| !attributes.is_empty());
        let send = self.client.send_message().queue_url(&self.ledger).message_body(&letter.body);
        send.set_message_attributes(attributes).send().await?;
        let delete = self.client.delete_message().queue_url(&self.ledger_dead_letters).receipt_handle(&letter.receipt);
        delete.send().await?;
        Ok(())
    }

    /// Makes messages visible again. If this fails, they become visible after [`HIDDEN`].
    pub(crate) async fn show_again(&self, letters: &[DeadLetter]) {
        for letters in letters.chunks(10) {
            let entries = letters.iter().enumerate().filter_map(|(number, letter)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(number.to_string());
                entry.receipt_handle(&letter.receipt).visibility_timeout(0).build().ok()
            });
            let request = self.client.change_message_visibility_batch().queue_url(&self.ledger_dead_letters);
            if let Err(error) = request.set_entries(Some(entries.collect())).send().await {
                let error = aws_sdk_sqs::Error::from(error);
                tracing::warn!(error = &error as &dyn std::error::Error, "dead letters stay hidden for half a minute");
            }
        }
    }

    /// Receives up to ten dead letters, hidden from other receivers for this time.
    async fn receive(&self, hidden: Duration) -> Result<Vec<DeadLetter>, aws_sdk_sqs::Error> {
        let received = self
            .client
            .receive_message()
            .queue_url(&self.ledger_dead_letters)
            .max_number_of_messages(BATCH)
            .visibility_timeout(i32::try_from(hidden.as_secs()).unwrap_or_default())
            .wait_time_seconds(1)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_attribute_names("All")
            .send()
            .await?;
        Ok(received.messages.unwrap_or_default().into_iter().filter_map(DeadLetter::of).collect())
    }
}
