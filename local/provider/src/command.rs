//! Commands: requests that change something, validated and not yet executed.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    card::{Holder, Verdict},
    currency,
    error::ApiError,
    faults::Fault,
    form::Form,
    ids::Ids,
    intent::{Intent, Status},
    metadata,
    objects::Objects,
};

/// A valid request, not yet executed.
#[derive(Debug)]
pub(crate) enum Command {
    Create {
        intent: Box<Intent>,
        /// Whether the same request confirms the intent, and whether the card's holder can be asked.
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
        /// The payment method of the charge.
        payment_method: Option<String>,
        amount: Option<u64>,
        reason: Option<String>,
        metadata: BTreeMap<String, String>,
    },
}

impl Command {
    pub(crate) fn read(
        path: &str,
        form: &Form,
        objects: &Objects,
        ids: &mut Ids,
        now: Duration,
    ) -> Result<Self, ApiError> {
        let segments: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
        match segments.as_slice() {
            ["payment_intents"] => Self::create(form, ids, now),
            ["payment_intents", id, "confirm"] => Self::confirm(id, form, objects),
            ["payment_intents", id, "cancel"] => Self::cancel(id, form, objects),
            _ => Self::refund(form, objects),
        }
    }

    fn create(form: &Form, ids: &mut Ids, now: Duration) -> Result<Self, ApiError> {
        form.only(&CREATE_PARAMETERS)?;
        let confirm = (form.get("confirm") == Some("true")).then(|| holder(form));
        let amount = form.integer("amount")?.ok_or_else(|| ApiError::required("amount"))?;
        let currency = currency::parse(form.get("currency").ok_or_else(|| ApiError::required("currency"))?)?;
        currency::check(amount, &currency)?;
        let payment_method = payment_method(form)?;
        if confirm.is_some() && payment_method.is_none() {
            return Err(ApiError::required("payment_method"));
        }
        let types: Vec<String> = form.map("payment_method_types").into_values().collect();
        let metadata = metadata::of(form)?;
        let id = ids.next("pi");
        let intent = Intent {
            client_secret: ids.next(&format!("{id}_secret")),
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
            metadata,
            canceled_at: None,
            cancellation_reason: None,
            livemode: false,
            created: now.as_secs(),
        };
        Ok(Self::Create { intent: Box::new(intent), confirm })
    }

    fn confirm(id: &str, form: &Form, objects: &Objects) -> Result<Self, ApiError> {
        form.only(&[
            "payment_method",
            "return_url",
            "off_session",
            "payment_method_types",
            "payment_method_options",
            "error_on_requires_action",
            "expand",
        ])?;
        let intent = objects.expect(id)?;
        let payment_method = payment_method(form)?.or_else(|| intent.payment_method.clone());
        Ok(Self::Confirm { id: id.to_owned(), payment_method, holder: holder(form) })
    }

    fn cancel(id: &str, form: &Form, objects: &Objects) -> Result<Self, ApiError> {
        form.only(&["cancellation_reason", "expand"])?;
        objects.expect(id)?;
        Ok(Self::Cancel { id: id.to_owned(), reason: form.get("cancellation_reason").map(str::to_owned) })
    }

    fn refund(form: &Form, objects: &Objects) -> Result<Self, ApiError> {
        form.only(&["payment_intent", "charge", "amount", "reason", "metadata", "expand"])?;
        let intent = match (form.get("payment_intent"), form.get("charge")) {
            (Some(id), _) => objects.intent(id).ok_or_else(|| ApiError::missing("payment_intent", id))?,
            (None, Some(charge)) => {
                let mut intents = objects.intents();
                let found = intents.find(|intent| intent.latest_charge.as_deref() == Some(charge));
                found.ok_or_else(|| ApiError::missing("charge", charge))?
            }
            (None, None) => return Err(ApiError::required("payment_intent")),
        };
        let amount = form.integer("amount")?;
        if amount == Some(0) {
            return Err(ApiError::invalid("This value must be greater than or equal to 1.")
                .with_code("parameter_invalid_integer")
                .with_parameter("amount"));
        }
        Ok(Self::Refund {
            intent: intent.id.clone(),
            payment_method: intent.payment_method.clone(),
            amount,
            reason: form.get("reason").map(str::to_owned),
            metadata: metadata::of(form)?,
        })
    }

    /// The fault that the payment method causes.
    pub(crate) fn fault(&self) -> Option<Fault> {
        match self {
            Self::Create { intent, confirm: Some(_) } => Fault::of_charge(intent.payment_method.as_deref()?),
            Self::Confirm { payment_method, .. } => Fault::of_charge(payment_method.as_deref()?),
            Self::Refund { payment_method, .. } => Fault::of_refund(payment_method.as_deref()?),
            Self::Create { confirm: None, .. } | Self::Cancel { .. } => None,
        }
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
        Some(method) if Verdict::of(method).is_none() => Err(ApiError::no_such_method(method)),
        method => Ok(method.map(str::to_owned)),
    }
}

fn holder(form: &Form) -> Holder {
    match (form.get("off_session"), form.get("error_on_requires_action")) {
        (Some("true" | "one_off" | "recurring"), _) => Holder::Absent,
        (_, Some("true")) => Holder::NotAsked,
        (_, _) => Holder::Present,
    }
}
