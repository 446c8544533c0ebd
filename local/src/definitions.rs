//! How the functions of a template are run: the definition of each.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    dynamodb,
    logs::Logs,
    output::Output,
    provider::Provider,
    sandbox::Definition,
    template::{self, Deployment, Template},
};

/// What all functions share.
pub(crate) struct Definitions {
    /// By the folder of the code.
    pub programs: BTreeMap<PathBuf, PathBuf>,
    pub logs: Logs,
    pub output: Output,
    pub provider: Provider,
    pub process_group: i32,
    pub dynamodb: String,
    pub sqs: SocketAddr,
    pub kinesis: SocketAddr,
    pub secrets: SocketAddr,
    pub scheduler: SocketAddr,
    pub sandboxes: usize,
    pub overtime: Duration,
}

impl Definitions {
    /// By the functions' logical ids.
    pub(crate) fn of(&self, template: &Template, deployment: &Deployment) -> Result<BTreeMap<String, Definition>> {
        let definitions = template.functions.iter().map(|(id, settings)| {
            let behind_api = template.api.routes.iter().any(|route| route.function == *id);
            Ok((id.clone(), self.definition(id, settings, behind_api, deployment)?))
        });
        definitions.collect()
    }

    fn definition(
        &self,
        id: &str,
        settings: &template::Function,
        behind_api: bool,
        deployment: &Deployment,
    ) -> Result<Definition> {
        let settings = template::Function { code: settings.code.canonicalize()?, ..settings.clone() };
        let program =
            self.programs.get(&settings.code).with_context(|| format!("function {id} was not built"))?.clone();
        Ok(Definition {
            arn: deployment.arn("lambda", &format!("function:{}", settings.name)),
            environment: self.environment(id, &settings, &program, deployment),
            program,
            concurrency: settings.concurrency(self.sandboxes),
            settings,
            provider: self.provider.clone(),
            logs: self.logs.clone(),
            output: self.output.clone(),
            behind_api,
            process_group: self.process_group,
            overtime: self.overtime,
        })
    }

    /// AWS, "Working with Lambda environment variables": the runtime's variables, those that the SDK needs here, and
    /// last those of the template. Of this process's own variables only PATH is passed on.
    fn environment(
        &self,
        id: &str,
        settings: &template::Function,
        program: &Path,
        deployment: &Deployment,
    ) -> BTreeMap<String, String> {
        let task_root = program.parent().unwrap_or(Path::new("/"));
        let mut environment: BTreeMap<String, String> = [
            ("_HANDLER", settings.handler.clone()),
            ("AWS_REGION", deployment.region.clone()),
            ("AWS_DEFAULT_REGION", deployment.region.clone()),
            ("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023".to_owned()),
            ("AWS_LAMBDA_FUNCTION_NAME", settings.name.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", settings.memory.to_string()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", settings.log_group.clone()),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "local".to_owned()),
            ("AWS_ACCESS_KEY_ID", "local".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
            (dynamodb::SESSION_TOKEN, id.to_owned()),
            ("AWS_ENDPOINT_URL_DYNAMODB", self.dynamodb.clone()),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", format!("http://{}", self.secrets)),
            ("AWS_ENDPOINT_URL_SCHEDULER", format!("http://{}", self.scheduler)),
            ("AWS_ENDPOINT_URL_SQS", format!("http://{}", self.sqs)),
            ("AWS_ENDPOINT_URL_KINESIS", format!("http://{}", self.kinesis)),
            ("LAMBDA_TASK_ROOT", task_root.to_string_lossy().into_owned()),
            ("LAMBDA_RUNTIME_DIR", "/var/runtime".to_owned()),
            ("TZ", ":UTC".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let optional = [
            ("PATH", std::env::var("PATH").ok()),
            ("SSL_CERT_FILE", certificates()),
            ("AWS_LAMBDA_LOG_FORMAT", settings.log_format.clone()),
            ("AWS_LAMBDA_LOG_LEVEL", settings.log_level.clone()),
        ];
        environment.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        environment.extend(settings.environment.clone());
        environment
    }
}

/// The system's certificates in one file, as Lambda has them. Where each is in a file of its own, too, a function would
/// read some hundred files more at each start.
fn certificates() -> Option<String> {
    let files = ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"];
    files.into_iter().find(|file| Path::new(file).is_file()).map(str::to_owned)
}
