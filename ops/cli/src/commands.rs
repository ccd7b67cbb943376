//! What each subcommand does.

mod attest;
mod bench;
mod block;
mod check;
mod checkpoint;
mod devnode;
mod doctor;
mod job;
mod log;
mod replay;
mod run;
mod watch;

use std::process::ExitCode;

use anyhow::Result;
use obsqra_store::Role;

use crate::args::{CheckpointAction, Command, DeriveAction, ProjectAction};
use crate::config::Settings;
use crate::instance::Instance;
use crate::roles::{self, Roles, Writing};

pub(crate) use block::verify as verify_block;
pub(crate) use log::check_proof;

/// Runs a subcommand to its end.
pub(crate) async fn run(command: Command, settings: Settings) -> Result<ExitCode> {
    match command {
        Command::Run(args) => run::run(settings, args.chain).await?,
        Command::Index(_) => index(settings).await?,
        Command::Relay => alone(settings, SingleRole::Relay).await?,
        Command::Work => alone(settings, SingleRole::Work).await?,
        Command::Project { action: None } => alone(settings, SingleRole::Project).await?,
        Command::Project { action: Some(ProjectAction::Verify) } => {
            return check::project(settings).await;
        }
        Command::Project { action: Some(ProjectAction::Rebuild { name }) } => {
            check::rebuild(settings, &name).await?;
        }
        Command::Derive { action: DeriveAction::Verify } => return check::derive(settings).await,
        Command::Checkpoint { action: None } => alone(settings, SingleRole::Checkpoint).await?,
        Command::Checkpoint { action: Some(CheckpointAction::Key { new }) } => {
            checkpoint::key(&settings, new)?;
        }
        Command::Serve(_) => serve(settings).await?,
        Command::Migrate => {
            let instance = Instance::open_database(&settings).await?;
            instance.migrate().await?;
            instance.close().await?;
            println!("the database has this program's schema");
        }
        Command::Devnode(args) => devnode::run(args).await?,
        Command::Log { action } => return log::run(settings, action).await,
        Command::Replay(args) => return replay::run(settings, *args).await,
        Command::Watch { action } => watch::run(settings, action).await?,
        Command::Block { action } => block::run(settings, action).await?,
        Command::Attest(args) => return attest::run(settings, args).await,
        Command::Job { action } => job::run(settings, action).await?,
        Command::Dead { action } => job::run_dead(settings, action).await?,
        Command::Doctor => return doctor::run(settings).await,
        Command::Bench(args) => bench::run(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn index(settings: Settings) -> Result<()> {
    // Wrong settings are told before any server is started.
    roles::feed(&settings, settings.rpc_url.as_deref(), None)?;
    let mut running = Roles::new()?;
    let Some(instance) = running.unless_stopped(Instance::open(&settings)).await? else {
        return Ok(());
    };
    let store = instance.store_as(Role::Writer).await?;
    let known = roles::known_chain(&settings, &store).await?;
    let feed = roles::feed(&settings, settings.rpc_url.as_deref(), known.clone())?;
    let chain = match known {
        Some(known) => Some(known),
        None => roles::chain_of(&feed, running.stop()).await?,
    };
    if let Some(chain) = chain {
        let stop = running.stop().clone();
        running.start("index", roles::follow(settings, store, feed, chain, stop));
    }
    let finished = running.finish().await;
    instance.close().await?;
    finished
}

#[derive(Clone, Copy)]
enum SingleRole {
    Relay,
    Work,
    Project,
    Checkpoint,
}

impl SingleRole {
    fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Work => "work",
            Self::Project => "project",
            Self::Checkpoint => "checkpoint",
        }
    }
}

async fn alone(settings: Settings, role: SingleRole) -> Result<()> {
    let mut running = Roles::new()?;
    let Some(instance) = running.unless_stopped(Instance::open(&settings)).await? else {
        return Ok(());
    };
    let store = instance.store_as(Role::Writer).await?;
    let stop = running.stop().clone();
    if let Some(chain) = roles::wait_for_chain(&settings, &store, &stop).await? {
        let writing = Writing::open(&instance, &settings, &chain, role.name()).await?;
        let (context, bus) = (writing.context, writing.bus);
        match role {
            SingleRole::Relay => {
                let repeating =
                    roles::relay_final(bus, context.clone(), chain.clone(), stop.clone());
                running.start("relay of final facts", repeating);
                running.start(role.name(), roles::relay(context, chain, stop));
            }
            SingleRole::Work => {
                let retracting = roles::retract(context.clone(), chain.clone(), stop.clone());
                running.start("retract", retracting);
                let allocating = roles::allocate(context.clone(), chain.clone(), stop.clone());
                running.start("allocate", allocating);
                let reported = roles::enqueue_reports(context.clone(), chain.clone(), stop.clone());
                running.start("report", reported);
                running.start("jobs", roles::run_jobs(context.clone(), stop.clone()));
                running.start(role.name(), roles::score_all(context, chain, stop));
            }
            SingleRole::Project => running.start(role.name(), roles::project(context, chain, stop)),
            SingleRole::Checkpoint => {
                let signed = roles::checkpoint(settings, bus, context, chain, stop);
                running.start(role.name(), signed);
            }
        }
    }
    let finished = running.finish().await;
    instance.close().await?;
    finished
}

async fn serve(settings: Settings) -> Result<()> {
    let mut running = Roles::new()?;
    let Some(instance) = running.unless_stopped(Instance::open(&settings)).await? else {
        return Ok(());
    };
    let stop = running.stop().clone();
    let store = instance.store_as(Role::Reader).await?;
    if let Some(chain) = roles::wait_for_chain(&settings, &store, &stop).await? {
        let bus = instance.bus("serve").await?;
        let server = roles::bind_server(&settings, &instance, &bus, &chain).await?;
        roles::announce(&server);
        running.start("serve", async move { Ok(server.run(stop).await?) });
    }
    let finished = running.finish().await;
    instance.close().await?;
    finished
}
