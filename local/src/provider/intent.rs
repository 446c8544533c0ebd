//! Payment intents (Stripe, "The PaymentIntent object", "How intents work").

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Charge,
    card::{Decline, Holder, Verdict},
    currency,
    error::ApiError,
    form::Form,
    metadata,
    misbehaviour::Misbehaviour,
    refund::Refund,
};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Intent {
    pub(super) id: String,
    pub(super) object: String,
    pub(super) amount: u64,
    pub(super) amount_received: u64,
    pub(super) currency: String,
    pub(super) status: Status,
    pub(super) payment_method: Option<String>,
    pub(super) payment_method_types: Vec<String>,
    pub(super) latest_charge: Option<String>,
    pub(super) last_payment_error: Option<Value>,
    /// What the card's holder has to do.
    #[serde(default)]
    pub(super) next_action: Option<Value>,
    pub(super) description: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) client_secret: String,
    pub(super) canceled_at: Option<u64>,
    pub(super) cancellation_reason: Option<String>,
    pub(super) livemode: bool,
    pub(super) created: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresAction,
    Succeeded,
    Canceled,
}

/// A valid request, not yet executed.
pub(super) enum Draft {
    Create {
        intent: Box<Intent>,
        /// Whom a confirmation in the same request may ask.
        confirm: Option<Holder>,
    },
    Confirm {
        id: String,
        payment_method: Option<String>,
        holder: Holder,
    },
    Cancel {
        id: String,
        reason: Option<String>,
    },
    Refund {
        intent: String,
        /// What was paid by.
        payment_method: Option<String>,
        amount: Option<u64>,
        reason: Option<String>,
        metadata: BTreeMap<String, String>,
    },
}

/// The intents and refunds in the database, perhaps inside a transaction.
pub(super) struct Intents<'c>(pub(super) &'c Connection);

impl Draft {
    pub(super) fn create(form: &Form) -> Result<Self, ApiError> {
        form.only(&CREATE_PARAMETERS)?;
        let confirm = (form.get("confirm") == Some("true")).then(|| holder(form));
        let amount = form.integer("amount")?.ok_or_else(|| ApiError::required("amount"))?;
        let currency = currency::parse(form.get("currency").ok_or_else(|| ApiError::required("currency"))?)?;
        currency::check(amount, &currency)?;
        let payment_method = payment_method(form)?;
        if confirm.is_some() && payment_method.is_none() {
            return Err(ApiError::required("payment_method"));
        }
        let id = identifier("pi");
        let types: Vec<String> = form.map("payment_method_types").into_values().collect();
        let intent = Intent {
            client_secret: format!("{id}_secret_{}", Uuid::new_v4().simple()),
            id,
            object: "payment_intent".to_owned(),
            amount,
            amount_received: 0,
            currency,
            status: if payment_method.is_some() { Status::RequiresConfirmation } else { Status::RequiresPaymentMethod },
            payment_method,
            payment_method_types: if types.is_empty() { vec!["card".to_owned()] } else { types },
            latest_charge: None,
            last_payment_error: None,
            next_action: None,
            description: form.get("description").map(str::to_owned),
            metadata: metadata::of(form)?,
            canceled_at: None,
            cancellation_reason: None,
            livemode: false,
            created: now(),
        };
        Ok(Self::Create { intent: Box::new(intent), confirm })
    }

    pub(super) fn confirm(id: &str, form: &Form, intents: &Intents<'_>) -> Result<Self, ApiError> {
        form.only(&[
            "payment_method",
            "return_url",
            "off_session",
            "payment_method_types",
            "payment_method_options",
            "error_on_requires_action",
            "expand",
        ])?;
        let intent = intents.expect(id)?;
        let payment_method = payment_method(form)?.or(intent.payment_method);
        Ok(Self::Confirm { id: id.to_owned(), payment_method, holder: holder(form) })
    }

    pub(super) fn cancel(id: &str, form: &Form, intents: &Intents<'_>) -> Result<Self, ApiError> {
        form.only(&["cancellation_reason", "expand"])?;
        intents.expect(id)?;
        Ok(Self::Cancel { id: id.to_owned(), reason: form.get("cancellation_reason").map(str::to_owned) })
    }

    pub(super) fn refund(form: &Form, intents: &Intents<'_>) -> Result<Self, ApiError> {
        form.only(&["payment_intent", "charge", "amount", "reason", "metadata", "expand"])?;
        let intent = match (form.get("payment_intent"), form.get("charge")) {
            (Some(id), _) => intents.get(id)?.ok_or_else(|| ApiError::missing("payment_intent", id))?,
            (None, Some(charge)) => intents
                .all()?
                .into_iter()
                .find(|intent| intent.latest_charge.as_deref() == Some(charge))
                .ok_or_else(|| ApiError::missing("charge", charge))?,
            (None, None) => return Err(ApiError::required("payment_intent")),
        };
        let amount = form.integer("amount")?;
        if amount == Some(0) {
            return Err(ApiError::invalid("This value must be greater than or equal to 1.")
                .with_code("parameter_invalid_integer")
                .with_parameter("amount"));
        }
        Ok(Self::Refund {
            intent: intent.id,
            payment_method: intent.payment_method,
            amount,
            reason: form.get("reason").map(str::to_owned),
            metadata: metadata::of(form)?,
        })
    }

    /// How the payment method makes this request misbehave.
    pub(super) fn misbehaviour(&self) -> Option<Misbehaviour> {
        match self {
            Self::Create { intent, confirm: Some(_) } => Misbehaviour::of_charge(intent.payment_method.as_deref()?),
            Self::Confirm { payment_method, .. } => Misbehaviour::of_charge(payment_method.as_deref()?),
            Self::Refund { payment_method, .. } => Misbehaviour::of_refund(payment_method.as_deref()?),
            Self::Create { confirm: None, .. } | Self::Cancel { .. } => None,
        }
    }
}

impl Intents<'_> {
    pub(super) fn create_tables(&self) -> rusqlite::Result<()> {
        self.0.execute_batch(
            "CREATE TABLE IF NOT EXISTS payment_intents (
                 sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, document TEXT NOT NULL, idempotency_key TEXT
             ) STRICT;
             CREATE TABLE IF NOT EXISTS refunds (
                 sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, payment_intent TEXT NOT NULL, document TEXT NOT NULL
             ) STRICT;
             CREATE INDEX IF NOT EXISTS refunds_by_intent ON refunds (payment_intent);",
        )
    }

    pub(super) fn get(&self, id: &str) -> Result<Option<Intent>, ApiError> {
        self.document("SELECT document FROM payment_intents WHERE id = ?1", id)
    }

    pub(super) fn refund(&self, id: &str) -> Result<Option<Refund>, ApiError> {
        self.document("SELECT document FROM refunds WHERE id = ?1", id)
    }

    /// Oldest first.
    pub(super) fn all(&self) -> Result<Vec<Intent>, ApiError> {
        self.documents("SELECT document FROM payment_intents WHERE ?1 = '' ORDER BY sequence", "")
    }

    pub(super) fn refunds(&self, intent: &str) -> Result<Vec<Refund>, ApiError> {
        self.documents("SELECT document FROM refunds WHERE payment_intent = ?1 ORDER BY sequence", intent)
    }

    /// Oldest first.
    pub(super) fn all_refunds(&self) -> Result<Vec<Refund>, ApiError> {
        self.documents("SELECT document FROM refunds WHERE ?1 = '' ORDER BY sequence", "")
    }

    /// The banks have answered: what was pending, or only seemed to have succeeded, comes to its end.
    pub(super) fn settle_refunds(&self) -> Result<(), ApiError> {
        for refund in self.all_refunds()? {
            let method = self.get(refund.intent())?.and_then(|intent| intent.payment_method);
            if let Some(settled) = refund.settled(method.as_deref()) {
                let document = serde_json::to_string(&settled)?;
                self.0.execute("UPDATE refunds SET document = ?1 WHERE id = ?2", params![document, settled.id])?;
            }
        }
        Ok(())
    }

    pub(super) fn charges(&self) -> Result<Vec<Charge>, ApiError> {
        let mut statement =
            self.0.prepare("SELECT document, idempotency_key FROM payment_intents ORDER BY sequence")?;
        let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
        let mut charges = Vec::new();
        for row in rows {
            let (document, idempotency_key) = row?;
            let intent: Intent = serde_json::from_str(&document)?;
            if let (Status::Succeeded, Some(id)) = (intent.status, intent.latest_charge) {
                let refunds = self.refunds(&intent.id)?;
                charges.push(Charge {
                    id,
                    payment_intent: intent.id,
                    amount: intent.amount_received,
                    amount_refunded: refunds.iter().map(Refund::given_back).sum(),
                    currency: intent.currency,
                    payment_method: intent.payment_method,
                    idempotency_key,
                    metadata: intent.metadata,
                    created: intent.created,
                });
            }
        }
        Ok(charges)
    }

    /// Executes a draft. What it answers, success or error, is final under the request's key.
    pub(super) fn perform(&self, draft: Draft, key: Option<String>) -> Result<Value, ApiError> {
        match draft {
            Draft::Create { intent, confirm } => {
                self.0.execute(
                    "INSERT INTO payment_intents (id, document, idempotency_key) VALUES (?1, ?2, ?3)",
                    params![intent.id, serde_json::to_string(&intent)?, key],
                )?;
                match confirm {
                    Some(holder) => self.charge(*intent, holder, None),
                    None => Ok(serde_json::to_value(intent)?),
                }
            }
            Draft::Confirm { id, payment_method, holder } => {
                let intent = self.open_intent(&id, "confirm")?;
                self.charge(Intent { payment_method, ..intent }, holder, key)
            }
            Draft::Cancel { id, reason } => {
                let intent = self.open_intent(&id, "cancel")?;
                let (canceled_at, cancellation_reason) = (Some(now()), reason);
                let status = Status::Canceled;
                let intent = Intent { status, canceled_at, cancellation_reason, next_action: None, ..intent };
                self.update(&intent, None)?;
                Ok(serde_json::to_value(intent)?)
            }
            Draft::Refund { intent, payment_method: _, amount, reason, metadata } => {
                let refund = Refund::of(&self.expect(&intent)?, &self.refunds(&intent)?, amount, reason, metadata)?;
                self.0.execute(
                    "INSERT INTO refunds (id, payment_intent, document) VALUES (?1, ?2, ?3)",
                    params![refund.id, intent, serde_json::to_string(&refund)?],
                )?;
                Ok(serde_json::to_value(refund)?)
            }
        }
    }

    /// An intent that is not final yet.
    fn open_intent(&self, id: &str, action: &str) -> Result<Intent, ApiError> {
        let intent = self.expect(id)?;
        match intent.status {
            Status::RequiresPaymentMethod | Status::RequiresConfirmation | Status::RequiresAction => Ok(intent),
            Status::Succeeded | Status::Canceled => Err(unexpected(action, &intent)?),
        }
    }

    /// Whoever confirmed last is who charged: `key` replaces the key of the creation.
    fn charge(&self, intent: Intent, holder: Holder, key: Option<String>) -> Result<Value, ApiError> {
        let Some(method) = intent.payment_method.as_deref() else { return Err(unexpected("confirm", &intent)?) };
        let declined = match Verdict::of(method).ok_or_else(|| no_such_method(method))? {
            Verdict::Approved => None,
            Verdict::Declined(decline) => Some(decline),
            Verdict::Authentication => match Decline::for_want_of(holder) {
                Some(decline) => Some(decline),
                None => {
                    let next_action = Some(json!({ "type": "use_stripe_sdk", "use_stripe_sdk": {} }));
                    let intent = Intent { status: Status::RequiresAction, next_action, ..intent };
                    self.update(&intent, key)?;
                    return Ok(serde_json::to_value(intent)?);
                }
            },
        };
        let (latest_charge, next_action) = (Some(identifier("ch")), None);
        match declined {
            None => {
                let (status, amount_received) = (Status::Succeeded, intent.amount);
                let last_payment_error = None;
                let intent =
                    Intent { status, amount_received, latest_charge, last_payment_error, next_action, ..intent };
                self.update(&intent, key)?;
                Ok(serde_json::to_value(intent)?)
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
                self.update(&intent, key)?;
                Err(ApiError::declined(decline, serde_json::to_value(intent)?))
            }
        }
    }

    fn update(&self, intent: &Intent, key: Option<String>) -> Result<(), ApiError> {
        let document = serde_json::to_string(intent)?;
        self.0.execute(
            "UPDATE payment_intents SET document = ?1, idempotency_key = ifnull(?2, idempotency_key) WHERE id = ?3",
            params![document, key, intent.id],
        )?;
        Ok(())
    }

    fn expect(&self, id: &str) -> Result<Intent, ApiError> {
        self.get(id)?
            .ok_or_else(|| ApiError::missing("payment_intent", id).with_status(axum::http::StatusCode::NOT_FOUND))
    }

    fn document<T: DeserializeOwned>(&self, sql: &str, id: &str) -> Result<Option<T>, ApiError> {
        let document: Option<String> = self.0.query_row(sql, [id], |row| row.get(0)).optional()?;
        Ok(document.map(|document| serde_json::from_str(&document)).transpose()?)
    }

    fn documents<T: DeserializeOwned>(&self, sql: &str, parameter: &str) -> Result<Vec<T>, ApiError> {
        let mut statement = self.0.prepare_cached(sql)?;
        let rows = statement.query_map([parameter], |row| row.get::<_, String>(0))?;
        rows.map(|document| Ok(serde_json::from_str(&document?)?)).collect()
    }
}

const CREATE_PARAMETERS: [&str; 18] = [
    "amount",
    "currency",
    "payment_method",
    "confirm",
    "metadata",
    "description",
    "payment_method_types",
    "automatic_payment_methods",
    "payment_method_options",
    "error_on_requires_action",
    "off_session",
    "customer",
    "receipt_email",
    "return_url",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "confirmation_method",
    "expand",
];

fn payment_method(form: &Form) -> Result<Option<String>, ApiError> {
    match form.get("payment_method") {
        Some(method) if Verdict::of(method).is_none() => Err(no_such_method(method)),
        method => Ok(method.map(str::to_owned)),
    }
}

fn no_such_method(method: &str) -> ApiError {
    ApiError::invalid(&format!("No such PaymentMethod: '{method}'"))
        .with_code("resource_missing")
        .with_parameter("payment_method")
}

fn holder(form: &Form) -> Holder {
    match (form.get("off_session"), form.get("error_on_requires_action")) {
        (Some("true" | "one_off" | "recurring"), _) => Holder::Absent,
        (_, Some("true")) => Holder::NotAsked,
        (_, _) => Holder::Present,
    }
}

fn unexpected(action: &str, intent: &Intent) -> Result<ApiError, ApiError> {
    let value = serde_json::to_value(intent)?;
    let message = format!(
        "This PaymentIntent's status is {}, so you cannot {action} it.",
        value["status"].as_str().unwrap_or_default()
    );
    Ok(ApiError::unexpected_state(&message, value))
}

pub(super) fn identifier(prefix: &str) -> String {
    format!("{prefix}_{}", Uuid::new_v4().simple())
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
