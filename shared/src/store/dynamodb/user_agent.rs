//! The user agent header of each request, computed once per process.

use std::borrow::Cow;
use std::sync::LazyLock;

use aws_runtime::user_agent::{ApiMetadata, AwsUserAgent, UserAgentInterceptor};
use aws_sdk_dynamodb::config::interceptors::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
};
use aws_sdk_dynamodb::config::{AppName, ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::meta::PKG_VERSION;
use aws_smithy_runtime_api::client::interceptors::{disable_interceptor, dyn_dispatch_hint};
use aws_types::os_shim_internal::Env;

/// Replaces the SDK's own interceptor, which writes the same text into two headers, one of them signed, and computes it
/// for each request, which takes about a tenth of a request's instructions.
///
/// It omits the SDK features that a request uses.
#[derive(Debug)]
pub(super) struct UserAgent;

static USER_AGENT: LazyLock<String> = LazyLock::new(|| {
    let api = ApiMetadata::new("dynamodb", PKG_VERSION);
    AwsUserAgent::new_from_environment(Env::real(), api).ua_header()
});

#[dyn_dispatch_hint]
impl Intercept for UserAgent {
    fn name(&self) -> &'static str {
        "UserAgent"
    }

    fn read_before_execution(
        &self,
        _context: &BeforeSerializationInterceptorContextRef<'_>,
        settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let disabled = disable_interceptor::<UserAgentInterceptor>("its header is computed once");
        settings.interceptor_state().store_put(disabled);
        Ok(())
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let text = match settings.load::<AppName>() {
            Some(name) => Cow::Owned(format!("{} app/{name}", *USER_AGENT)),
            None => Cow::Borrowed(USER_AGENT.as_str()),
        };
        context.request_mut().headers_mut().insert("user-agent", text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::Client;
    use aws_sdk_dynamodb::config::AppName;

    use crate::store::dynamodb::tests::Table;

    #[tokio::test]
    async fn each_request_has_one_user_agent_as_the_sdk_writes_it() {
        let table = Table::default();
        let named = table.config().app_name(AppName::new("payments").unwrap());
        for config in [table.config(), named] {
            Client::from_conf(config.build()).list_tables().send().await.unwrap();
        }
        let sent = table.user_agents.lock().clone();
        let [(name, text), (same, with_app)] = sent.as_slice() else { panic!("{sent:?}") };
        assert_eq!((name.as_str(), same.as_str()), ("user-agent", "user-agent"));
        assert!(text.starts_with("aws-sdk-rust/") && text.contains(" api/dynamodb/"), "{text}");
        assert_eq!(*with_app, format!("{text} app/payments"));
    }
}
