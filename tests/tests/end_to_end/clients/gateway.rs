//! What is between the clients and the API.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use fault_proxy::Proxy;
use futures::future::join_all;
use tests::local_stack::{Stack, payment};
use tests::wait::TIMEOUT;

use super::arrivals::Arrivals;
use super::program::Program;
use super::request::{Ending, Request};
use super::rules::Rules;
use super::scenario::Scenario;

/// How long the provider is down after each client has met that.
const OUTAGE: Duration = Duration::from_millis(1500);

/// What is between the clients and the API.
pub(crate) struct Gateway<'s> {
    stack: &'s Stack,
    token: String,
    proxy: Proxy,
    pub(crate) arrivals: Arrivals,
}

impl<'s> Gateway<'s> {
    pub(crate) async fn start(stack: &'s Stack) -> Self {
        let token = stack.local(reqwest::Method::GET, "token?sub=ann").send().await.expect("answers");
        let api: SocketAddr = stack.base().trim_start_matches("http://").parse().expect("an address");
        let proxy = Proxy::start(api).await.expect("a port");
        let arrivals = Arrivals::default();
        proxy.follow(arrivals.clone());
        Self { stack, token: token.text().await.expect("a token"), proxy, arrivals }
    }

    /// Each client sends one request for each scenario, all of them at the same time.
    pub(crate) async fn send(&self, programs: &mut [Program], scenarios: &[Scenario]) -> Vec<Ending> {
        let sent = programs.iter_mut().map(|program| {
            let requests = scenarios.iter().map(|scenario| self.request(program, *scenario)).collect::<Vec<_>>();
            async move { program.send(&requests).await }
        });
        let endings = tokio::time::timeout(TIMEOUT, join_all(sent)).await;
        endings.unwrap_or_else(|_| panic!("no end of {scenarios:?}")).concat()
    }

    /// As [`Self::send`], while the provider is down for some time.
    pub(crate) async fn outage(&self, programs: &mut [Program]) -> Vec<Ending> {
        self.stack.provider("down").await;
        let clients = programs.len();
        let end = async {
            self.arrivals.until(Scenario::Outage, clients).await;
            tokio::time::sleep(OUTAGE).await;
            self.stack.provider("up").await;
        };
        tokio::join!(self.send(programs, &[Scenario::Outage]), end).0
    }

    fn request(&self, program: &Program, scenario: Scenario) -> Request {
        let name = name(program.client.name, program.rules, scenario);
        Request {
            url: format!("{}/payments", self.proxy.url()),
            headers: BTreeMap::from([
                ("Authorization", format!("Bearer {}", self.token)),
                ("Content-Type", "application/json".to_owned()),
                ("Idempotency-Key", name.clone()),
            ]),
            body: payment(&name, scenario.payment_method()).to_string(),
            timeout: scenario.time_out(),
            name,
        }
    }
}

/// The account and the key of a cell.
pub(crate) fn name(client: &str, rules: Rules, scenario: Scenario) -> String {
    format!("{client}-{}-{}", rules.name(), scenario.name())
}
