//! `demo`: the service over sample customers, and what they tell.
//!
//! Every number that is printed is the answer of a public `Count` to the service.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::client::{Access, Client};
use super::error::CliError;
use super::output::{self, Output, bar, grouped, percent};
use super::{Global, import, serve};
use crate::engine::EngineOptions;
use crate::proto::{BatchCountRequest, Selection, selection};
use crate::server::{self, ServerConfig};

/// 7,043 customers of a telephone company; see `data/README.md`.
const CUSTOMERS: &[u8] = include_bytes!("../../data/telco_customers.csv");
/// Names of a temporary folder that are tried.
const NAMES: u32 = 100;

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// The address to listen on; a free port if this one is taken.
    #[arg(long, default_value = "127.0.0.1:7171")]
    listen: SocketAddr,
    /// A data folder to keep; a temporary one if left out.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Listen also where others than this machine can reach it: the demo has no TLS.
    #[arg(long)]
    insecure: bool,
    /// End after the answers.
    #[arg(long)]
    exit: bool,
}

/// A question of the demo: a heading and segments to compare.
struct Question {
    heading: &'static str,
    /// What it is called, and its filter.
    segments: &'static [(&'static str, &'static str)],
}

const LEFT: &str = "churn = 'Yes'";

const QUESTIONS: [Question; 6] = [
    Question {
        heading: "Who leaves? By contract",
        segments: &[
            ("month to month", "contract = 'Month-to-month'"),
            ("one year", "contract = 'One year'"),
            ("two years", "contract = 'Two year'"),
        ],
    },
    Question {
        heading: "By internet service",
        segments: &[
            ("fiber optic", "internet_service = 'Fiber optic'"),
            ("DSL", "internet_service = 'DSL'"),
            ("none", "internet_service = 'No'"),
        ],
    },
    Question {
        heading: "By tenure",
        segments: &[
            ("first half year", "tenure <= 6"),
            ("7 to 24 months", "tenure BETWEEN 7 AND 24"),
            ("over two years", "tenure > 24"),
        ],
    },
    Question {
        heading: "By payment",
        segments: &[
            ("electronic check", "payment_method = 'Electronic check'"),
            ("anything else", "NOT payment_method = 'Electronic check'"),
        ],
    },
    Question {
        heading: "By help",
        segments: &[
            (
                "neither support nor security",
                "tech_support = 'No' AND online_security = 'No'",
            ),
            (
                "tech support or online security",
                "tech_support = 'Yes' OR online_security = 'Yes'",
            ),
        ],
    },
    Question {
        heading: "Together",
        segments: &[
            (
                "monthly, fiber optic",
                "contract = 'Month-to-month' AND internet_service = 'Fiber optic'",
            ),
            (
                "monthly, fiber optic, new, electronic check",
                "contract = 'Month-to-month' AND internet_service = 'Fiber optic' AND tenure <= 6 AND payment_method = 'Electronic check'",
            ),
            (
                "two years, no fiber optic",
                "contract = 'Two year' AND internet_service != 'Fiber optic'",
            ),
        ],
    },
];

pub(super) async fn demo(args: DemoArgs, output: Output) -> Result<u8, CliError> {
    // Before there is anything to clear away.
    let interruption = serve::interruption()?;
    if let Some(data) = args.data.clone() {
        return run(&args, data, interruption, output).await;
    }
    let folder = TemporaryFolder::new()?;
    run(&args, folder.path.clone(), interruption, output).await
}

/// A folder that this process made, removed when dropped. One that was there before is never
/// taken, whatever its name: it would not be ours to remove.
#[derive(Debug)]
struct TemporaryFolder {
    path: PathBuf,
}

impl TemporaryFolder {
    fn new() -> Result<Self, CliError> {
        let parent = std::env::temp_dir();
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700);
        let mut number = 0_u32;
        loop {
            let path = parent.join(format!("headcount-demo-{}-{number}", std::process::id()));
            match builder.create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && number < NAMES => {
                    number += 1;
                }
                Err(error) => {
                    let path = path.display();
                    return Err(CliError::Input(format!(
                        "can't make the folder {path}: {error}; name one with --data"
                    )));
                }
            }
        }
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            output::note(&format!("can't remove {}: {error}", self.path.display()));
        }
    }
}

async fn run(
    args: &DemoArgs,
    data: PathBuf,
    interruption: impl Future<Output = ()>,
    output: Output,
) -> Result<u8, CliError> {
    let listener = match serve::bind(args.listen).await {
        Ok(listener) => listener,
        // What was asked for is what an error is about.
        Err(error) => serve::bind(SocketAddr::new(args.listen.ip(), 0))
            .await
            .map_err(|_| error)?,
    };
    let address = serve::address_of(&listener)?;
    let mut config = ServerConfig::default();
    config.security.insecure = args.insecure;
    serve::check(&config, address)?;
    let engine = serve::open(EngineOptions::new(data)).await?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server::run(engine.clone(), listener, config, async {
        let _ = stopped.await;
    }));
    let mut interruption = std::pin::pin!(interruption);
    let told = tokio::select! {
        told = tell(args, address, output) => told,
        () = &mut interruption => {
            Err(CliError::Other("interrupted before the answers were there".into()))
        }
    };
    if told.is_ok() && !args.exit {
        interruption.await;
    }
    let _ = stop.send(());
    let served = serving.await;
    engine.shutdown().await;
    told?;
    match served {
        Ok(Ok(())) => Ok(0),
        Ok(Err(error)) => Err(CliError::Other(error.to_string())),
        Err(error) => Err(CliError::Other(error.to_string())),
    }
}

async fn tell(args: &DemoArgs, address: SocketAddr, output: Output) -> Result<(), CliError> {
    let client = Client::connect(&Global {
        server: format!("http://{address}"),
        population: "default".into(),
        access: Access::default(),
        output: super::Format::Table,
    })
    .await?;
    let imported = import::import_bytes(&client, CUSTOMERS).await?;

    let mut filters = vec!["TRUE".to_owned(), LEFT.to_owned()];
    for (_, filter) in QUESTIONS.iter().flat_map(|question| question.segments) {
        filters.push((*filter).to_owned());
        filters.push(format!("({filter}) AND {LEFT}"));
    }
    let counts = count(&client, &filters).await?;
    if output.is_json() {
        let counts = filters
            .iter()
            .zip(&counts)
            .map(|(filter, count)| json!({ "filter": filter, "count": count }));
        return output::line(&format!(
            "{:#}",
            json!({
                "listening": address.to_string(),
                "imported": imported,
                "counts": counts.collect::<Vec<_>>(),
            })
        ));
    }
    print_answers(imported, address, &counts)?;
    if !args.exit {
        output::line("\nServing until Ctrl-C.")?;
    }
    Ok(())
}

async fn count(client: &Client, filters: &[String]) -> Result<Vec<u64>, CliError> {
    let selections = filters.iter().map(|filter| Selection {
        selection: Some(selection::Selection::Filter(filter.clone())),
    });
    let request = BatchCountRequest {
        population: client.population.clone(),
        selections: selections.collect(),
        as_of: None,
        min_revision: String::new(),
    };
    Ok(client
        .query()
        .batch_count(request)
        .await?
        .into_inner()
        .counts)
}

fn print_answers(imported: u64, address: SocketAddr, counts: &[u64]) -> Result<(), CliError> {
    let mut counts = counts.iter().copied();
    let mut next = || counts.next().unwrap_or(0);
    let (all, left) = (next(), next());
    output::line(&format!(
        "Headcount serves {} customers of a telephone company on http://{address} ({} rows imported).",
        grouped(all),
        grouped(imported),
    ))?;
    output::line(&format!(
        "{} of them left: {}. That average hides who they are; segments show it.",
        grouped(left),
        percent(left, all)
    ))?;
    for question in &QUESTIONS {
        output::line(&format!(
            "\n{:<46}{:>7}  {:>6}  share that left",
            question.heading, "users", "left"
        ))?;
        for (name, _) in question.segments {
            let (users, left) = (next(), next());
            output::line(&format!(
                "  {name:<44}{:>7}  {:>6}  {:>6}  {}",
                grouped(users),
                grouped(left),
                percent(left, users),
                bar(left, users, 30)
            ))?;
        }
    }
    let server = if address.port() == 7171 {
        String::new()
    } else {
        format!(" --server http://{address}")
    };
    // As this program was called: it need not be on the path.
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "headcount".into());
    let ask = format!("{program}{server}");
    output::line(&format!(
        "\nAsk more, from another terminal:\n  \
         {ask} count \"contract = 'Month-to-month' AND internet_service = 'Fiber optic'\"\n  \
         {ask} schema list\n  \
         {ask} user get customer-0001\n  \
         {ask} check customer-0001 \"{LEFT}\" \"tenure <= 6\"\n  \
         grpcurl -plaintext -d '{{\"filter\": \"contract = '\\''One year'\\''\"}}' {address} headcount.v1.QueryService/Count"
    ))
}
