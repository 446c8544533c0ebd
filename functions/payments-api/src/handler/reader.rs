use idempotency::protocol::PrincipalDigest;
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};
use payments::AccountId;

/// Whose balances a caller may read, according to the token that API Gateway has verified.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// All accounts: the token has the role.
    All,
    /// These accounts, which the token lists in the claim that a setting names.
    Named(Vec<AccountId>),
    /// The accounts that this principal was the first to pay into.
    Payer(PrincipalDigest),
}

impl Reader {
    /// The value of the claim `role` whose holder may read every account.
    const ROLE: &str = "accounts:read";

    /// What the request's token permits. If a setting names the claim that lists a holder's accounts, a token without
    /// that claim reads none.
    pub(crate) fn of(request: &Request, asker: PrincipalDigest, accounts_claim: Option<&str>) -> Self {
        if claim(request, "role").is_some_and(|roles| words(roles).any(|role| role == Self::ROLE)) {
            return Self::All;
        }
        match accounts_claim {
            Some(name) => {
                Self::Named(words(claim(request, name).unwrap_or_default()).filter_map(AccountId::parse).collect())
            }
            None => Self::Payer(asker),
        }
    }
}

fn claim<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    match request.request_context_ref()? {
        RequestContext::ApiGatewayV2(context) => {
            context.authorizer.as_ref()?.jwt.as_ref()?.claims.get(name).map(String::as_str)
        }
        // The enum has more variants if another crate enables more features of lambda_http.
        #[allow(unreachable_patterns)]
        _ => None,
    }
}

/// API Gateway passes every claim as a string, a list as `[a b]`.
fn words(claim: &str) -> impl Iterator<Item = &str> {
    claim.trim_start_matches('[').trim_end_matches(']').split([' ', ',']).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use idempotency::protocol::Principal;
    use lambda_http::request::from_str;

    use super::*;

    fn ann() -> PrincipalDigest {
        Principal::new("ann").unwrap().digest()
    }

    fn reader(claims: &str, accounts_claim: Option<&str>) -> Reader {
        let event = include_str!("../../../../events/payments-api/account.json");
        let own = r#""sub": "ann""#;
        assert!(event.contains(own));
        let request = from_str(&event.replace(own, &format!("{own}{claims}"))).unwrap();
        Reader::of(&request, ann(), accounts_claim)
    }

    #[test]
    fn only_the_whole_word_of_the_role_opens_all_accounts() {
        for role in ["accounts:read", "[viewer accounts:read]", "[accounts:read]", "viewer accounts:read"] {
            assert_eq!(reader(&format!(r#", "role": "{role}""#), None), Reader::All, "{role}");
            assert_eq!(reader(&format!(r#", "role": "{role}""#), Some("accounts")), Reader::All, "{role}");
        }
        for role in ["", "accounts", "accounts:reader", "xaccounts:read", "accounts:read:none", "operator"] {
            let payer = reader(&format!(r#", "role": "{role}""#), None);
            assert_eq!(payer, Reader::Payer(ann()), "{role}");
        }
        assert_eq!(reader(r#", "scope": "accounts:read""#, None), Reader::Payer(ann()));
    }

    #[test]
    fn with_a_setting_the_claim_alone_names_accounts() {
        let named = |claims: &str| match reader(claims, Some("custom:accounts")) {
            Reader::Named(accounts) => accounts.iter().map(ToString::to_string).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(named(r#", "custom:accounts": "acct-1""#), ["acct-1"]);
        assert_eq!(named(r#", "custom:accounts": "[acct-1 acct-2]""#), ["acct-1", "acct-2"]);
        assert_eq!(named(r#", "custom:accounts": "acct-1,acct-2""#), ["acct-1", "acct-2"]);
        assert_eq!(named(r#", "custom:accounts": "[] a#b *""#), [""; 0]);
        assert_eq!(named(""), [""; 0], "the claim is missing, so the caller can read no account");
    }
}
