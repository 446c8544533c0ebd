//! HTTP requests as each AWS front door passes them to a function.

use lambda_http::Request;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// A request as a front door (HTTP API, REST API, function URL, load balancer or VPC Lattice) passes it on. It has no
/// caller identity unless you add one.
#[derive(Clone, Debug)]
pub struct HttpEvent {
    front_door: FrontDoor,
    method: String,
    path: String,
    /// The path of the route; `None` if the route matches every path.
    route: Option<String>,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Option<String>,
    caller: Caller,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FrontDoor {
    HttpApi,
    #[cfg(feature = "apigw_rest")]
    RestApi,
    FunctionUrl,
    #[cfg(feature = "alb")]
    Alb,
    #[cfg(feature = "vpc_lattice")]
    VpcLattice,
}

impl FrontDoor {
    fn must_have_authorizers(self) {
        match self {
            Self::HttpApi => {}
            #[cfg(feature = "apigw_rest")]
            Self::RestApi => {}
            _ => panic!("authorizers are part of an HTTP or REST API; {self:?} has none"),
        }
    }
}

#[derive(Clone, Debug)]
enum Caller {
    Nobody,
    Jwt(String),
    Iam(String),
    /// The context that a Lambda authorizer returned.
    Authorized(Map<String, Value>),
}

impl HttpEvent {
    /// A request through an HTTP API, in payload format 2.0, on the route `$default`.
    pub fn http_api(method: &str, path: &str) -> Self {
        Self::through(FrontDoor::HttpApi, method, path)
    }

    /// A request through a REST API, in payload format 1.0, on the resource `/{proxy+}`.
    #[cfg(feature = "apigw_rest")]
    pub fn rest_api(method: &str, path: &str) -> Self {
        Self::through(FrontDoor::RestApi, method, path)
    }

    /// A request through a function URL.
    pub fn function_url(method: &str, path: &str) -> Self {
        Self::through(FrontDoor::FunctionUrl, method, path)
    }

    /// A request through an Application Load Balancer.
    #[cfg(feature = "alb")]
    pub fn alb(method: &str, path: &str) -> Self {
        Self::through(FrontDoor::Alb, method, path)
    }

    /// A request through a VPC Lattice service, in event structure 2.0.
    #[cfg(feature = "vpc_lattice")]
    pub fn vpc_lattice(method: &str, path: &str) -> Self {
        Self::through(FrontDoor::VpcLattice, method, path)
    }

    fn through(front_door: FrontDoor, method: &str, path: &str) -> Self {
        Self {
            front_door,
            method: method.to_owned(),
            path: path.to_owned(),
            route: None,
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            caller: Caller::Nobody,
        }
    }

    /// Sets the path of the API's route, such as `/orders/{id}`. Only APIs have routes.
    #[must_use]
    pub fn route(mut self, path: &str) -> Self {
        self.route = Some(path.to_owned());
        self
    }

    /// Adds a query parameter. Pass name and value unencoded; the event encodes them where AWS does.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_lowercase(), value.to_owned()));
        self
    }

    /// Adds the header `Idempotency-Key`.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// Sets a JSON body and its content type.
    ///
    /// # Panics
    /// If the body cannot be written as JSON.
    #[must_use]
    pub fn json(self, body: &impl Serialize) -> Self {
        let body = serde_json::to_string(body).expect("a body that can be written as JSON");
        self.header("content-type", "application/json").body(&body)
    }

    /// Sets a text body.
    #[must_use]
    pub fn body(mut self, body: &str) -> Self {
        self.body = Some(body.to_owned());
        self
    }

    /// Makes the caller the subject of a JWT that the API's authorizer has verified.
    ///
    /// # Panics
    /// If the front door is not an API: it has no authorizers.
    #[must_use]
    pub fn jwt_subject(mut self, subject: &str) -> Self {
        self.front_door.must_have_authorizers();
        self.caller = Caller::Jwt(subject.to_owned());
        self
    }

    /// Makes the caller the IAM user or role with this ARN, which signed the request.
    ///
    /// # Panics
    /// If the front door is a load balancer, which verifies no signatures.
    #[must_use]
    pub fn iam_user(mut self, arn: &str) -> Self {
        #[cfg(feature = "alb")]
        assert!(self.front_door != FrontDoor::Alb, "a load balancer verifies no signature, so it names no IAM user");
        self.caller = Caller::Iam(arn.to_owned());
        self
    }

    /// Adds a value to the context that the API's Lambda authorizer returned.
    ///
    /// # Panics
    /// If the front door is not an API: it has no authorizers.
    #[must_use]
    pub fn authorized(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.front_door.must_have_authorizers();
        let mut context = match self.caller {
            Caller::Authorized(context) => context,
            Caller::Nobody | Caller::Jwt(_) | Caller::Iam(_) => Map::new(),
        };
        context.insert(name.to_owned(), value.into());
        self.caller = Caller::Authorized(context);
        self
    }

    /// The request, as `lambda_http` parses it.
    ///
    /// # Errors
    /// If `lambda_http` does not accept the event.
    pub fn request(&self) -> Result<Request, serde_json::Error> {
        lambda_http::request::from_str(&self.to_json().to_string())
    }

    /// The event as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self.front_door {
            FrontDoor::HttpApi => self.format_2("abc123.execute-api.eu-central-1.amazonaws.com"),
            FrontDoor::FunctionUrl => self.format_2("abc123.lambda-url.eu-central-1.on.aws"),
            #[cfg(feature = "apigw_rest")]
            FrontDoor::RestApi => self.format_1(),
            #[cfg(feature = "alb")]
            FrontDoor::Alb => self.of_load_balancer(),
            #[cfg(feature = "vpc_lattice")]
            FrontDoor::VpcLattice => self.of_vpc_lattice(),
        }
    }

    fn format_2(&self, domain: &str) -> Value {
        let route = self.route.as_ref().map_or("$default".to_owned(), |path| format!("{} {path}", self.method));
        let mut event = json!({
            "version": "2.0", "routeKey": route, "rawPath": self.path, "rawQueryString": self.query_string(),
            "headers": joined(&self.headers), "isBase64Encoded": false,
            "requestContext": {
                "accountId": "123456789012", "apiId": "abc123", "domainName": domain, "domainPrefix": "abc123",
                "http": {
                    "method": self.method, "path": self.path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                    "userAgent": "tests",
                },
                "requestId": "JKJaXmPLvHcESHA=", "routeKey": route, "stage": "$default",
                "time": "12/Mar/2026:19:03:58 +0000", "timeEpoch": 1_773_342_238_000_u64,
            },
        });
        if let Some(body) = &self.body {
            event["body"] = body.as_str().into();
        }
        let authorizer = match &self.caller {
            Caller::Nobody => return event,
            Caller::Jwt(subject) => json!({"jwt": {"claims": {"sub": subject}, "scopes": null}}),
            Caller::Iam(arn) => json!({"iam": {"accountId": "123456789012", "userArn": arn, "userId": "AIDAEXAMPLE"}}),
            Caller::Authorized(context) => json!({"lambda": context}),
        };
        event["requestContext"]["authorizer"] = authorizer;
        event
    }

    #[cfg(feature = "apigw_rest")]
    fn format_1(&self) -> Value {
        let route = self.route.as_deref().unwrap_or("/{proxy+}");
        let mut identity = json!({"sourceIp": "192.0.2.1", "userAgent": "tests", "userArn": null});
        let authorizer = match &self.caller {
            Caller::Nobody => Value::Null,
            Caller::Jwt(subject) => json!({"claims": {"sub": subject}}),
            Caller::Iam(arn) => {
                identity["userArn"] = arn.as_str().into();
                Value::Null
            }
            Caller::Authorized(context) => json!(context),
        };
        let mut event = json!({
            "resource": route, "path": self.path, "httpMethod": self.method, "headers": last(&self.headers),
            "multiValueHeaders": all(&self.headers), "queryStringParameters": last(&self.query),
            "multiValueQueryStringParameters": all(&self.query), "pathParameters": null, "stageVariables": null,
            "body": self.body, "isBase64Encoded": false,
            "requestContext": {
                "accountId": "123456789012", "apiId": "abc123", "resourceId": "r1", "resourcePath": route,
                "httpMethod": self.method, "path": format!("/prod{}", self.path), "stage": "prod",
                "protocol": "HTTP/1.1", "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef", "identity": identity,
                "requestTimeEpoch": 1_773_342_238_000_u64,
            },
        });
        if !authorizer.is_null() {
            event["requestContext"]["authorizer"] = authorizer;
        }
        event
    }

    /// An event with one value per header, as a target group sends it by default. Only its headers can name a caller.
    #[cfg(feature = "alb")]
    fn of_load_balancer(&self) -> Value {
        let group = super::arn("elasticloadbalancing", "targetgroup/orders/6d0ecf831eec9f09");
        json!({
            "requestContext": {"elb": {"targetGroupArn": group}}, "httpMethod": self.method, "path": self.path,
            "queryStringParameters": last(&encoded(&self.query)), "headers": last(&self.headers),
            "body": self.body.as_deref().unwrap_or_default(), "isBase64Encoded": false,
        })
    }

    #[cfg(feature = "vpc_lattice")]
    fn of_vpc_lattice(&self) -> Value {
        let arn = |resource| super::arn("vpc-lattice", resource);
        let vpc = super::arn("ec2", "vpc/vpc-0b8276c84697e7339");
        let identity = match &self.caller {
            Caller::Iam(arn) => json!({"sourceVpcArn": vpc, "type": "AWS_IAM", "principal": arn}),
            Caller::Nobody | Caller::Jwt(_) | Caller::Authorized(_) => json!({"sourceVpcArn": vpc}),
        };
        json!({
            "version": "2.0", "path": self.path, "method": self.method, "headers": all(&self.headers),
            "queryStringParameters": all(&encoded(&self.query)), "body": self.body, "isBase64Encoded": false,
            "requestContext": {
                "serviceNetworkArn": arn("servicenetwork/sn-0bf3f2882e9cc805a"),
                "serviceArn": arn("service/svc-0a40eebed65f8d69c"),
                "targetGroupArn": arn("targetgroup/tg-6d0ecf831eec9f09"), "identity": identity,
                "region": super::REGION, "timeEpoch": "1773342238000000",
            },
        })
    }

    fn query_string(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.query).finish()
    }
}

/// Names and values encoded as in a URL: load balancers and VPC Lattice services do not decode them.
#[cfg(any(feature = "alb", feature = "vpc_lattice"))]
fn encoded(pairs: &[(String, String)]) -> Vec<(String, String)> {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect();
    pairs.iter().map(|(name, value)| (encode(name), encode(value))).collect()
}

/// One value per name: all its values, separated by commas.
fn joined(pairs: &[(String, String)]) -> Value {
    let mut joined = Map::new();
    for (name, value) in pairs {
        let value = match joined.get(name).and_then(Value::as_str) {
            Some(before) => format!("{before},{value}"),
            None => value.clone(),
        };
        joined.insert(name.clone(), value.into());
    }
    joined.into()
}

/// One value per name: its last.
#[cfg(any(feature = "apigw_rest", feature = "alb"))]
fn last(pairs: &[(String, String)]) -> Value {
    Value::Object(pairs.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect())
}

/// A list of values per name.
#[cfg(any(feature = "apigw_rest", feature = "vpc_lattice"))]
fn all(pairs: &[(String, String)]) -> Value {
    let mut lists = Map::new();
    for (name, value) in pairs {
        if let Value::Array(list) = lists.entry(name.as_str()).or_insert_with(|| json!([])) {
            list.push(value.as_str().into());
        }
    }
    lists.into()
}

#[cfg(test)]
mod tests {
    use lambda_http::{Body, RequestExt};

    use super::*;
    use crate::http::{authorized, iam_user, jwt_subject};
    use crate::protocol::Principal;

    /// One event through each front door.
    fn events() -> Vec<HttpEvent> {
        vec![
            HttpEvent::http_api("POST", "/orders/7"),
            HttpEvent::function_url("POST", "/orders/7"),
            #[cfg(feature = "apigw_rest")]
            HttpEvent::rest_api("POST", "/orders/7"),
            #[cfg(feature = "alb")]
            HttpEvent::alb("POST", "/orders/7"),
            #[cfg(feature = "vpc_lattice")]
            HttpEvent::vpc_lattice("POST", "/orders/7"),
        ]
    }

    #[test]
    fn each_front_door_passes_the_same_request_on() {
        for event in events() {
            let event = event.key("k-1").header("X-Count", "2").query("a", "1").json(&json!({"item": "tea"}));
            let request = event.request().unwrap_or_else(|error| panic!("{event:?}: {error}"));
            assert_eq!((request.method().as_str(), request.raw_http_path()), ("POST", "/orders/7"), "{event:?}");
            assert_eq!(request.uri().query(), Some("a=1"), "{event:?}");
            let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap());
            assert_eq!((header("idempotency-key"), header("x-count")), (Some("k-1"), Some("2")), "{event:?}");
            assert_eq!(request.body(), &Body::Text("{\"item\":\"tea\"}".into()), "{event:?}");
        }
    }

    #[test]
    fn callers_are_found_where_the_front_door_names_them() {
        let name = |principal: Option<Principal>| principal.map(|principal| principal.as_str().to_owned());
        let arn = "arn:aws:iam::123456789012:user/alice";
        for event in events() {
            let request = |event: HttpEvent| event.request().unwrap();
            let nobody = request(event.clone());
            assert_eq!(name(jwt_subject(&nobody).or_else(|| iam_user(&nobody))), None, "{event:?}");
            #[cfg(feature = "alb")]
            if event.front_door == FrontDoor::Alb {
                continue;
            }
            assert_eq!(name(iam_user(&request(event.clone().iam_user(arn)))).as_deref(), Some(arn), "{event:?}");
            #[cfg(feature = "vpc_lattice")]
            if event.front_door == FrontDoor::VpcLattice {
                continue;
            }
            if event.front_door == FrontDoor::FunctionUrl {
                continue;
            }
            let by_jwt = request(event.clone().jwt_subject("alice"));
            assert_eq!(name(jwt_subject(&by_jwt)).as_deref(), Some("alice"), "{event:?}");
            let by_function = request(event.clone().authorized("tenant", "a").authorized("plan", 7));
            assert_eq!(name(authorized("tenant")(&by_function)).as_deref(), Some("a"), "{event:?}");
            assert_eq!(name(authorized("plan")(&by_function)).as_deref(), Some("7"), "{event:?}");
        }
    }

    #[test]
    fn a_query_means_the_same_through_each_front_door_whatever_is_in_it() {
        for event in events() {
            let event = event.query("first name", "Jürgen & Söhne").query("rate", "5%=a+b#1");
            let request = event.request().unwrap_or_else(|error| panic!("{event:?}: {error}"));
            let query = request.query_string_parameters();
            assert_eq!(query.first("first name"), Some("Jürgen & Söhne"), "{event:?}");
            assert_eq!(query.first("rate"), Some("5%=a+b#1"), "{event:?}");
            let in_url: Vec<_> = form_urlencoded::parse(request.uri().query().unwrap().as_bytes()).collect();
            assert!(in_url.contains(&("rate".into(), "5%=a+b#1".into())), "{event:?}: {in_url:?}");
        }
    }

    #[test]
    #[should_panic(expected = "FunctionUrl has none")]
    fn a_function_url_has_no_authorizer() {
        let _ = HttpEvent::function_url("POST", "/").jwt_subject("alice");
    }
}
