use lambda_http::Error;
use payments::{Secret, setting};

use super::Roles;
use super::sign_in::{Settings, SignIn};

/// The sign-in, as the function's environment describes it.
///
/// # Errors
/// When a setting is missing, or TLS cannot be set up on this machine.
pub(crate) fn sign_in(secret: impl Fn(String) -> Secret) -> Result<SignIn, Error> {
    let settings = Settings {
        issuer: setting("SIGN_IN_ISSUER")?,
        secret: secret(setting("SIGN_IN_SECRET")?),
        client_secret: setting("SIGN_IN_CLIENT_SECRET").ok().map(secret),
        audience: setting("JWT_AUDIENCE")?,
        scopes: setting("SIGN_IN_SCOPES")?,
        roles: Roles {
            name_claim: setting("SIGN_IN_NAME_CLAIM")?,
            claim: setting("SIGN_IN_ROLE_CLAIM")?,
            viewer: setting("SIGN_IN_VIEWER")?,
            operator: setting("SIGN_IN_OPERATOR")?,
        },
    };
    Ok(SignIn::new(settings)?)
}
