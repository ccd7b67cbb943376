//! Login roles, group roles and the database, brought to the wanted state on every start.
//!
//! Group roles own nothing and may do nothing here: the migrations grant. Passwords travel to `psql` on
//! its standard input and in a password file of mode 0600.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;

use crate::ServerError;
use crate::data_dir::HeldDataDir;
use crate::error::last_complaint;
use crate::secret::{Secret, write_private};
use crate::tools::bare_command;

pub(super) const DATABASE: &str = "obsqra";
pub(super) const ADMIN: &str = "obsqra_admin";
pub(super) const WRITE: &str = "obsqra_write";
pub(super) const READ: &str = "obsqra_read";
pub(super) const ANALYSE: &str = "obsqra_analyse";

const OWNER_GROUP: &str = "obsqra_owner";
const WRITER_GROUP: &str = "obsqra_writer";
const READER_GROUP: &str = "obsqra_reader";
const ANALYST_GROUP: &str = "obsqra_analyst";

/// Settings of the login of analysts: settings of a group do not reach its members.
const ANALYST_SETTINGS: &str = "\
    ALTER ROLE obsqra_analyse CONNECTION LIMIT 8;\n\
    ALTER ROLE obsqra_analyse SET statement_timeout = '60s';\n\
    ALTER ROLE obsqra_analyse SET idle_in_transaction_session_timeout = '60s';\n\
    ALTER ROLE obsqra_analyse SET work_mem = '32MB';\n\
    ALTER ROLE obsqra_analyse SET max_parallel_workers_per_gather = 0;\n\
    ALTER ROLE obsqra_analyse SET default_transaction_read_only = on;\n\
    ALTER ROLE obsqra_analyse SET search_path = analyst;\n";

/// One password for each login role.
#[derive(Debug)]
pub(super) struct Passwords {
    pub(super) admin: Secret,
    pub(super) write: Secret,
    pub(super) read: Secret,
    pub(super) analyse: Secret,
}

impl Passwords {
    pub(super) fn load_or_create(held: &HeldDataDir) -> Result<Self, ServerError> {
        let password = |role| Secret::load_or_create(&held.secret(role)?);
        Ok(Self {
            admin: password(ADMIN)?,
            write: password(WRITE)?,
            read: password(READ)?,
            analyse: password(ANALYSE)?,
        })
    }
}

pub(super) async fn ensure(
    psql: &Path,
    held: &HeldDataDir,
    passwords: &Passwords,
    port: u16,
) -> Result<(), ServerError> {
    let password_file = held.secret("pgpass")?;
    write_private(
        &password_file,
        &format!("127.0.0.1:*:*:{ADMIN}:{}\n", passwords.admin.expose()),
    )?;
    let mut command = bare_command(psql);
    command
        .args([
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-U",
            ADMIN,
            "-d",
            "postgres",
            "-p",
        ])
        .arg(port.to_string())
        .env("PGPASSFILE", &password_file)
        .env("PGCONNECT_TIMEOUT", "30")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0);
    let run = async {
        let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(script(passwords).as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let output = run.await.map_err(ServerError::io("run", psql))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(ServerError::StepFailed { program: "psql", reason: last_complaint(&said) })
}

/// Statements that fail must not be logged, because some of them hold passwords.
fn script(passwords: &Passwords) -> String {
    let mut script =
        "SET log_min_error_statement = panic;\nSET log_statement = 'none';\n".to_owned();
    for group in [OWNER_GROUP, WRITER_GROUP, READER_GROUP, ANALYST_GROUP] {
        script.push_str(&create_role(group, "NOLOGIN"));
    }
    for (role, group, password) in [
        (WRITE, WRITER_GROUP, &passwords.write),
        (READ, READER_GROUP, &passwords.read),
        (ANALYSE, ANALYST_GROUP, &passwords.analyse),
    ] {
        let password = password.expose();
        script.push_str(&create_role(role, "LOGIN"));
        script.push_str(&format!(
            "ALTER ROLE {role} PASSWORD '{password}';\nGRANT {group} TO {role};\n"
        ));
    }
    script.push_str(ANALYST_SETTINGS);
    script.push_str(&format!(
        "SELECT 'CREATE DATABASE {DATABASE} OWNER {OWNER_GROUP}'\n\
         WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{DATABASE}')\n\\gexec\n"
    ));
    script
}

fn create_role(role: &str, attributes: &str) -> String {
    format!(
        "SELECT 'CREATE ROLE {role} {attributes}'\n\
         WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}')\n\\gexec\n"
    )
}
