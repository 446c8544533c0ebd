use serde::{Deserialize, Serialize};

/// What an operator does with an UNKNOWN record, and the basis for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// It happened: settle as SUCCESS.
    Succeed {
        /// The provider's id of the payment intent or refund.
        reference: String,
        /// Whether the provider confirmed this reference at the preview. It is asked again at the confirmation.
        verified: bool,
    },
    /// It did not happen and no longer can: settle as FAILED.
    Fail {
        /// The operator's evidence.
        evidence: String,
    },
    /// It did not happen and no longer can: release, so that the next call with the key runs.
    Release,
}

/// An [`Action`] without its basis; the last part of its form's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActionKind {
    /// [`Action::Succeed`]
    Succeed,
    /// [`Action::Fail`]
    Fail,
    /// [`Action::Release`]
    Release,
}

impl Action {
    /// The action without its basis.
    pub const fn kind(&self) -> ActionKind {
        match self {
            Self::Succeed { .. } => ActionKind::Succeed,
            Self::Fail { .. } => ActionKind::Fail,
            Self::Release => ActionKind::Release,
        }
    }

    /// The basis: the provider's reference, or the operator's evidence.
    pub fn evidence(&self) -> Option<&str> {
        match self {
            Self::Succeed { reference: evidence, .. } | Self::Fail { evidence } => Some(evidence),
            Self::Release => None,
        }
    }
}

impl ActionKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Succeed, Self::Fail, Self::Release];

    /// The word in URLs and in a stored [`Action`].
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeed => "succeed",
            Self::Fail => "fail",
            Self::Release => "release",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_action_is_stored_in_the_form_that_earlier_versions_wrote() {
        let succeed = Action::Succeed { reference: "pi_1".into(), verified: true };
        for (action, stored) in [
            (succeed, json!({ "action": "succeed", "reference": "pi_1", "verified": true })),
            (Action::Fail { evidence: "e".into() }, json!({ "action": "fail", "evidence": "e" })),
            (Action::Release, json!({ "action": "release" })),
        ] {
            assert_eq!(serde_json::to_value(&action).unwrap(), stored);
            assert_eq!(serde_json::from_value::<Action>(stored.clone()).unwrap(), action);
            assert_eq!(stored["action"], action.kind().as_str());
        }
    }

    #[test]
    fn every_kind_is_read_back_from_its_word() {
        for kind in ActionKind::ALL {
            assert_eq!(serde_json::from_value::<ActionKind>(Value::from(kind.as_str())).unwrap(), kind);
        }
    }
}
