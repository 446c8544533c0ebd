//! Execution of valid requests. The result, success or error, is final under the request's key.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    card::{Decline, Holder, Verdict},
    command::Command,
    error::ApiError,
    ids::Ids,
    intent::{Intent, Status},
    objects::Objects,
    refund::Refund,
};

pub(crate) struct Performance<'p> {
    pub(crate) objects: &'p mut Objects,
    pub(crate) ids: &'p mut Ids,
    pub(crate) now: Duration,
    pub(crate) key: Option<String>,
}

impl Performance<'_> {
    pub(crate) fn perform(&mut self, command: Command) -> Result<Value, ApiError> {
        match command {
            Command::Create { intent, confirm } => {
                self.objects.put_intent(Intent::clone(&intent), self.key.clone());
                match confirm {
                    Some(holder) => self.charge(*intent, holder),
                    None => Ok(serde_json::to_value(intent)?),
                }
            }
            Command::Confirm { id, payment_method, holder } => {
                let intent = self.open_intent(&id, "confirm")?;
                self.charge(Intent { payment_method, ..intent }, holder)
            }
            Command::Cancel { id, reason } => {
                let intent = self.open_intent(&id, "cancel")?;
                let (canceled_at, cancellation_reason) = (Some(self.now.as_secs()), reason);
                let status = Status::Canceled;
                let intent = Intent { status, canceled_at, cancellation_reason, next_action: None, ..intent };
                self.objects.put_intent(intent.clone(), None);
                Ok(serde_json::to_value(intent)?)
            }
            Command::Refund { intent, payment_method: _, amount, reason, metadata } => {
                let intent = self.objects.expect(&intent)?;
                let refunded = self.objects.refunds_of(&intent.id).map(Refund::given_back).sum();
                let (id, now) = (self.ids.next("re"), self.now);
                let refund = Refund::new(id, intent, refunded, amount, reason, metadata, now)?;
                self.objects.add_refund(refund.clone());
                Ok(serde_json::to_value(refund)?)
            }
        }
    }

    /// An intent that is not final yet.
    fn open_intent(&self, id: &str, action: &str) -> Result<Intent, ApiError> {
        let intent = self.objects.expect(id)?;
        match intent.status {
            Status::RequiresPaymentMethod | Status::RequiresConfirmation | Status::RequiresAction => Ok(intent.clone()),
            Status::Succeeded | Status::Canceled => Err(unexpected(action, intent)?),
        }
    }

    fn charge(&mut self, intent: Intent, holder: Holder) -> Result<Value, ApiError> {
        let Some(method) = intent.payment_method.as_deref() else { return Err(unexpected("confirm", &intent)?) };
        let declined = match Verdict::of(method).ok_or_else(|| ApiError::no_such_method(method))? {
            Verdict::Approved => None,
            Verdict::Declined(decline) => Some(decline),
            Verdict::Authentication => match Decline::without_holder(holder) {
                Some(decline) => Some(decline),
                None => {
                    let next_action = Some(json!({ "type": "use_stripe_sdk", "use_stripe_sdk": {} }));
                    return self.store(Intent { status: Status::RequiresAction, next_action, ..intent });
                }
            },
        };
        let (latest_charge, next_action) = (Some(self.ids.next("ch")), None);
        match declined {
            None => {
                let (status, amount_received) = (Status::Succeeded, intent.amount);
                let last_payment_error = None;
                self.store(Intent { status, amount_received, latest_charge, last_payment_error, next_action, ..intent })
            }
            Some(decline) => {
                let Decline { code, decline_code, message } = decline;
                let mut failure = json!({ "type": "card_error", "code": code, "message": message });
                if let Some(decline_code) = decline_code {
                    failure["decline_code"] = json!(decline_code);
                }
                let (status, payment_method) = (Status::RequiresPaymentMethod, None);
                let last_payment_error = Some(failure);
                let intent =
                    Intent { status, payment_method, latest_charge, last_payment_error, next_action, ..intent };
                Err(ApiError::declined(decline, self.store(intent)?))
            }
        }
    }

    fn store(&mut self, intent: Intent) -> Result<Value, ApiError> {
        let value = serde_json::to_value(&intent)?;
        self.objects.put_intent(intent, self.key.clone());
        Ok(value)
    }
}

fn unexpected(action: &str, intent: &Intent) -> Result<ApiError, ApiError> {
    let message = format!("This PaymentIntent's status is {}, so you cannot {action} it.", intent.status.as_str());
    Ok(ApiError::unexpected_state(&message, serde_json::to_value(intent)?))
}
