//! Secrets Manager, as far as functions use it: `GetSecretValue` (AWS, "GetSecretValue", JSON protocol 1.1).
//!
//! There are the secrets of the template, generated as it declares them, and the provider's, which people create before
//! they deploy. `/_local/secrets/NAME` gives one a new value, as `aws secretsmanager put-secret-value` does.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    storage::Storage,
    template::{Access, Deployment, Role, Template},
};

#[derive(Clone)]
pub(crate) struct Secrets(Arc<Inner>);

struct Inner {
    storage: Storage,
    deployment: Deployment,
    /// By the logical id of the function.
    roles: BTreeMap<String, Role>,
}

/// The current version of a secret.
#[derive(Serialize, Deserialize)]
struct Version {
    id: String,
    created: f64,
    value: String,
}

/// An error of Secrets Manager.
struct ServiceError {
    kind: &'static str,
    message: String,
}

/// The parameter that names the secret with the provider's API key.
pub(crate) const PROVIDER_SECRET: &str = "ProviderSecretName";
/// The parameter that names the secret of the console's client at the issuer, if it has one.
pub(crate) const CLIENT_SECRET: &str = "ConsoleClientSecretName";

impl Secrets {
    /// Makes the secrets that are not there yet. Those that the template does not make get this value.
    pub(crate) fn open(storage: Storage, template: &Template, deployment: Deployment, value: &str) -> Result<Self> {
        let roles = template.functions.iter().filter_map(|(id, function)| Some((id.clone(), function.role.clone()?)));
        let secrets = Self(Arc::new(Inner { storage, deployment, roles: roles.collect() }));
        // These are made by people, before they deploy.
        let made = [(PROVIDER_SECRET, "api_key"), (CLIENT_SECRET, "client_secret")];
        let made = made.into_iter().filter_map(|(parameter, member)| {
            let name = template.parameters.get(parameter).filter(|name| !name.is_empty())?;
            Some((name, json!({ (member): value })))
        });
        let generated = template.secrets.values().map(|secret| (&secret.name, secret.generate()));
        for (name, value) in generated.chain(made) {
            if secrets.read(name)?.is_none() {
                secrets.write(name, &value.to_string())?;
            }
        }
        Ok(secrets)
    }

    pub(crate) fn router(&self) -> Router {
        Router::new().fallback(post(serve)).with_state(self.clone())
    }

    /// Gives a secret a new value; whether there is such a secret.
    pub(crate) fn put(&self, name: &str, value: &str) -> Result<bool> {
        let is_there = self.read(name)?.is_some();
        if is_there {
            self.write(name, value)?;
        }
        Ok(is_there)
    }

    fn read(&self, name: &str) -> Result<Option<Version>> {
        let stored = self.0.storage.setting(&key(name))?;
        stored.map(|stored| serde_json::from_slice(&stored).context("a stored secret cannot be read")).transpose()
    }

    fn write(&self, name: &str, value: &str) -> Result<()> {
        let created = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        let version = Version { id: Uuid::new_v4().to_string(), created, value: value.to_owned() };
        Ok(self.0.storage.set(&key(name), &serde_json::to_vec(&version)?)?)
    }

    /// Every secret has six more characters in its ARN (AWS, "Secrets Manager ARN").
    fn arn(&self, name: &str) -> String {
        self.0.deployment.arn("secretsmanager", &format!("secret:{name}-{SUFFIX}"))
    }

    fn get(&self, function: Option<&str>, request: &Value) -> Result<Value, ServiceError> {
        let id = request["SecretId"].as_str().ok_or_else(|| ServiceError::invalid("SecretId is missing"))?;
        let prefix = self.0.deployment.arn("secretsmanager", "secret:");
        let name = id.strip_prefix(&prefix).map_or(id, |name| name.strip_suffix(&format!("-{SUFFIX}")).unwrap_or(name));
        let access =
            Access { action: "secretsmanager:GetSecretValue".to_owned(), resource: self.arn(name), leading_keys: None };
        if let Some(role) = function.and_then(|function| self.0.roles.get(function))
            && !role.allows(&access)
        {
            tracing::error!("{} does not allow {} on {}", role.name, access.action, access.resource);
            return Err(ServiceError::denied(role, &access));
        }
        let version = self.read(name).map_err(|error| ServiceError::invalid(&format!("{error:#}")))?;
        let Version { id, created, value } = version.ok_or_else(ServiceError::not_found)?;
        Ok(json!({
            "ARN": access.resource,
            "Name": name,
            "VersionId": id,
            "VersionStages": ["AWSCURRENT"],
            "CreatedDate": created,
            "SecretString": value,
        }))
    }
}

const SUFFIX: &str = "000000";

fn key(name: &str) -> String {
    format!("secret {name}")
}

async fn serve(State(secrets): State<Secrets>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let answer = match text("x-amz-target") {
        Some("secretsmanager.GetSecretValue") => {
            let request = serde_json::from_slice(&body).unwrap_or_default();
            secrets.get(text("x-amz-security-token"), &request)
        }
        target => {
            Err(ServiceError::invalid(&format!("the local stack does not know {}", target.unwrap_or("this request"))))
        }
    };
    let mut response = match answer {
        Ok(value) => Json(value).into_response(),
        Err(ServiceError { kind, message }) => {
            (StatusCode::BAD_REQUEST, Json(json!({ "__type": kind, "Message": message }))).into_response()
        }
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
    response
}

impl ServiceError {
    fn invalid(message: &str) -> Self {
        Self { kind: "InvalidRequestException", message: message.to_owned() }
    }

    fn not_found() -> Self {
        let message = "Secrets Manager can't find the specified secret.";
        Self { kind: "ResourceNotFoundException", message: message.to_owned() }
    }

    fn denied(role: &Role, Access { action, resource, .. }: &Access) -> Self {
        let message = format!(
            "User: {} is not authorized to perform: {action} on resource: {resource} because no identity-based policy \
             allows the {action} action",
            role.name
        );
        Self { kind: "AccessDeniedException", message }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const TEMPLATE: &str = r#"
Parameters: { ProviderSecretName: { Type: String, Default: shop/provider } }
Resources:
  F: { Type: AWS::Serverless::Function, Properties: { CodeUri: f, Handler: bootstrap, Role: !GetAtt Role.Arn } }
  Role:
    Type: AWS::IAM::Role
    Properties:
      Policies:
        - PolicyDocument:
            Statement:
              - Effect: Allow
                Action: secretsmanager:GetSecretValue
                Resource: !Sub "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:${ProviderSecretName}-??????"
  Made:
    Type: AWS::SecretsManager::Secret
    Properties:
      Name: shop/made
      GenerateSecretString: { SecretStringTemplate: '{"client_id":"c"}', GenerateStringKey: key, PasswordLength: 43 }
"#;

    fn open(storage: &Storage) -> Secrets {
        let deployment = Deployment::default();
        let template = Template::read(TEMPLATE, Path::new("/app"), &deployment).expect("a template");
        assert_eq!(template.notes, [""; 0]);
        Secrets::open(storage.clone(), &template, deployment, "sk").expect("secrets")
    }

    fn get(secrets: &Secrets, function: Option<&str>, id: &str) -> Result<Value, &'static str> {
        let answer = secrets.get(function, &json!({ "SecretId": id })).map_err(|refusal| refusal.kind)?;
        Ok(serde_json::from_str(answer["SecretString"].as_str().expect("text")).expect("JSON"))
    }

    #[test]
    fn a_function_reads_the_secrets_that_its_role_allows_by_name_or_arn() {
        let secrets = open(&Storage::open(None).expect("storage"));
        let arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:shop/provider-000000";
        for id in ["shop/provider", arn] {
            assert_eq!(get(&secrets, Some("F"), id), Ok(json!({ "api_key": "sk" })), "{id}");
        }
        assert_eq!(get(&secrets, Some("F"), "shop/made"), Err("AccessDeniedException"));
        assert_eq!(get(&secrets, None, "shop/other"), Err("ResourceNotFoundException"));
    }

    #[test]
    fn what_was_generated_or_put_outlives_the_process() {
        let storage = Storage::open(None).expect("storage");
        let secrets = open(&storage);
        let made = get(&secrets, None, "shop/made").expect("made");
        assert_eq!((made["client_id"].as_str(), made["key"].as_str().map(str::len)), (Some("c"), Some(43)));
        assert!(secrets.put("shop/provider", r#"{"api_key":"new"}"#).expect("stored"));
        assert!(!secrets.put("shop/other", "{}").expect("no error"), "it must exist");
        let secrets = open(&storage);
        assert_eq!(get(&secrets, None, "shop/made"), Ok(made));
        assert_eq!(get(&secrets, None, "shop/provider"), Ok(json!({ "api_key": "new" })));
    }
}
