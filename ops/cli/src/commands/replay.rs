//! `obsqra replay`: a range of the log in a file, on standard output, or on an analyst's own subjects.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use obsqra_bus::{ReplayChannel, ReplayName};
use obsqra_store::{Role, StoreOptions};
use obsqra_workers::replay::{
    self, CborEncoder, Depth, Manifest, NdjsonEncoder, ParquetEncoder, Plan, Publication, Reader,
    ReplayError,
};

use super::log::{out, wrong_use};
use crate::args::{Format, ReplayArgs};
use crate::config::Settings;
use crate::instance::Instance;
use crate::roles::{self, Roles};

pub(super) async fn run(settings: Settings, args: ReplayArgs) -> Result<ExitCode> {
    if let Err(contradiction) = args.selection().check() {
        return Ok(wrong_use(&contradiction.into()));
    }
    let instance = match args.to_subject {
        Some(_) => Instance::open(&settings).await?,
        None => Instance::open_database(&settings).await?,
    };
    // A file that is not whole goes with the future that writes it.
    let stop = Roles::new()?;
    let replayed = tokio::select! {
        () = stop.stop().cancelled() => Err(anyhow::anyhow!("stopped before the end: nothing is whole")),
        replayed = replay(&settings, &args, &instance) => replayed,
    };
    instance.close().await?;
    match replayed {
        Err(error) if is_wrong_use(&error) => Ok(wrong_use(&error)),
        Err(error) => Err(error),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

fn is_wrong_use(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ReplayError>().is_some_and(ReplayError::is_wrong_use)
}

async fn replay(settings: &Settings, args: &ReplayArgs, instance: &Instance) -> Result<()> {
    let mut options = StoreOptions::new(Role::Reader);
    options.statement_timeout = None;
    let store = instance.store(options).await?;
    let Some(chain) = roles::known_chain(settings, &store).await? else {
        bail!("the log is empty: there is nothing to replay");
    };
    let depth = match (args.format, &args.to_subject) {
        (Format::Ndjson, _) | (_, Some(_)) => Depth::Told,
        (Format::Cbor | Format::Parquet, None) => Depth::Raw,
    };
    let plan = Plan::new(&store, &chain, args.selection(), depth).await?;
    let reader = plan.read(&store).await?;
    if let Some(name) = &args.to_subject {
        let manifest = publish(instance, name, args, reader).await?;
        tell(&manifest);
        return Ok(());
    }
    let mut written = None;
    out::write(args.out.as_deref(), async |file| {
        written = Some(encode(args.format, reader, file).await?);
        Ok(())
    })
    .await?;
    if args.out.is_some() {
        tell(&written.context("nothing was written")?);
    }
    Ok(())
}

async fn encode(format: Format, reader: Reader, file: &mut (dyn Write + Send)) -> Result<Manifest> {
    let manifest = match format {
        Format::Ndjson => replay::write(reader, NdjsonEncoder::new(file)).await,
        Format::Cbor => replay::write(reader, CborEncoder::new(file)).await,
        Format::Parquet => replay::write(reader, ParquetEncoder::new(file)?).await,
    };
    Ok(manifest?)
}

async fn publish(
    instance: &Instance,
    name: &ReplayName,
    args: &ReplayArgs,
    reader: Reader,
) -> Result<Manifest> {
    let bus = instance.bus("replay").await?;
    let channel = ReplayChannel::new(&bus, name.clone());
    let manifest = Publication::new(channel, args.pace()).run(reader).await?;
    bus.close().await?;
    Ok(manifest)
}

fn tell(manifest: &Manifest) {
    let range = &manifest.range;
    println!(
        "{} entries of positions {} to {}, root {}",
        manifest.entries, range.from_seq, range.to_seq, manifest.root
    );
}
