//! What each subcommand does.

mod check;
mod devnode;
mod doctor;
mod log;
mod run;

use std::process::ExitCode;

use anyhow::{Context, Result};
use obsqra_store::Role;

use crate::args::{Command, DeriveAction, ProjectAction};
use crate::config::Settings;
use crate::instance::Instance;
use crate::roles::{self, Roles, Writing};

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
        Command::Project { action: Some(ProjectAction::Rebuild) } => {
            return check::rebuild(settings).await;
        }
        Command::Derive { action: DeriveAction::Verify } => return check::derive(settings).await,
        Command::Serve(_) => serve(settings).await?,
        Command::Migrate => {
            let instance = Instance::open_database(&settings).await?;
            instance.migrate().await?;
            instance.close().await?;
            println!("the database has this program's schema");
        }
        Command::Devnode(args) => devnode::run(args).await?,
        Command::Log { action } => return log::run(settings, action).await,
        Command::Doctor => return doctor::run(settings).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn index(settings: Settings) -> Result<()> {
    let url = settings.rpc_url.clone().context(
        "no node is set: set OBSQRA_RPC_URL (`obsqra devnode` runs one for development)",
    )?;
    let source = roles::node(&url)?;
    let mut running = Roles::new()?;
    let Some(instance) = running.unless_stopped(Instance::open(&settings)).await? else {
        return Ok(());
    };
    let store = instance.store_as(Role::Writer).await?;
    let chain = roles::chain_of_node(&settings, &store, &source, running.stop()).await?;
    if let Some(chain) = chain {
        let stop = running.stop().clone();
        running.start("index", roles::follow(settings, store, source, chain, stop));
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
}

impl SingleRole {
    fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Work => "work",
            Self::Project => "project",
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
        let context = writing.context;
        match role {
            SingleRole::Relay => running.start(role.name(), roles::relay(context, chain, stop)),
            SingleRole::Work => running.start(role.name(), roles::score_all(context, chain, stop)),
            SingleRole::Project => running.start(role.name(), roles::project(context, chain, stop)),
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
