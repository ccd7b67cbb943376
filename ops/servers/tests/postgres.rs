//! A private cluster through crashes of the server, of its supervisor, and of both.

mod support;

use std::error::Error;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use obsqra_servers::{
    DatabaseUrl, Durability, PostgresOptions, PrivatePostgres, ServerError, ToolPaths, scratch_dir,
};

type Outcome = Result<(), Box<dyn Error>>;

fn options(data_dir: &Path) -> PostgresOptions {
    PostgresOptions::new(data_dir, Durability::Throwaway)
}

/// Runs SQL as that role and returns what it answers.
fn sql(url: &DatabaseUrl, statement: &str) -> Result<String, Box<dyn Error>> {
    let url = url.expose();
    let (before, address) = url.split_once('@').ok_or("a URL with a password")?;
    let (role, password) = before
        .strip_prefix("postgres://")
        .and_then(|rest| rest.split_once(':'))
        .ok_or("a password")?;
    let output = Command::new("psql")
        .args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement])
        .arg(format!("postgres://{role}@{address}"))
        .env("PGPASSWORD", password)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8(output.stderr)?.into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[tokio::test]
async fn it_has_timescaledb_the_roles_and_passwords() -> Outcome {
    let dir = scratch_dir()?;
    let server = PrivatePostgres::start(options(dir.path())).await?;
    let urls = server.urls();
    sql(&urls.admin, "CREATE EXTENSION timescaledb")?;
    assert_eq!(
        sql(&urls.admin, "SELECT extname FROM pg_extension WHERE extname = 'timescaledb'")?,
        "timescaledb"
    );
    assert_eq!(
        sql(&urls.writer, "SELECT pg_has_role(current_user, 'obsqra_writer', 'member')")?,
        "t"
    );
    assert_eq!(
        sql(&urls.reader, "SELECT pg_has_role(current_user, 'obsqra_reader', 'member')")?,
        "t"
    );
    assert_eq!(
        sql(&urls.reader, "SELECT pg_has_role(current_user, 'obsqra_writer', 'member')")?,
        "f"
    );
    assert_eq!(
        sql(&urls.writer, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")?,
        "f"
    );
    for (asked, expected) in [
        ("SELECT pg_has_role(current_user, 'obsqra_analyst', 'member')", "t"),
        ("SELECT pg_has_role(current_user, 'obsqra_reader', 'member')", "f"),
        ("SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user", "8"),
        ("SHOW statement_timeout", "1min"),
        ("SHOW idle_in_transaction_session_timeout", "1min"),
        ("SHOW work_mem", "32MB"),
        ("SHOW max_parallel_workers_per_gather", "0"),
        ("SHOW default_transaction_read_only", "on"),
        ("SHOW search_path", "analyst"),
    ] {
        assert_eq!(sql(&urls.analyst, asked)?, expected, "{asked}");
    }
    let passwordless = urls.reader.expose().replace(password_of(&urls.reader.expose()), "wrong");
    let refused =
        Command::new("psql").args(["-X", "-w", "-c", "SELECT 1", &passwordless]).output()?;
    assert!(!refused.status.success());
    server.stop().await?;
    Ok(())
}

fn password_of(url: &str) -> &str {
    url.split(['@', ':']).nth(2).unwrap_or_default()
}

#[tokio::test]
async fn full_durability_syncs_and_checks() -> Outcome {
    let dir = scratch_dir()?;
    let server = PrivatePostgres::start(PostgresOptions::new(dir.path(), Durability::Full)).await?;
    let admin = server.urls().admin;
    for (setting, expected) in [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("data_checksums", "on"),
        ("listen_addresses", "127.0.0.1"),
        ("timescaledb.telemetry_level", "off"),
    ] {
        assert_eq!(sql(&admin, &format!("SHOW {setting}"))?, expected, "{setting}");
    }
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_killed_server_comes_back_with_its_data() -> Outcome {
    let dir = scratch_dir()?;
    let mut server = PrivatePostgres::start(options(dir.path())).await?;
    let admin = server.urls().admin;
    sql(&admin, "CREATE TABLE kept AS SELECT 7 AS value")?;
    server.kill().await?;
    assert!(!server.is_running());
    server.restart().await?;
    assert_eq!(server.urls().admin, admin, "the same port and password");
    assert_eq!(sql(&admin, "SELECT value FROM kept")?, "7");
    server.kill().await?;
    drop(server);
    let server = PrivatePostgres::start(options(dir.path())).await?;
    assert_eq!(sql(&server.urls().admin, "SELECT value FROM kept")?, "7");
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_second_supervisor_is_told_of_the_first() -> Outcome {
    let dir = scratch_dir()?;
    let first = PrivatePostgres::start(options(dir.path())).await?;
    let second = PrivatePostgres::start(options(dir.path())).await;
    let error = second.err().ok_or("a second supervisor started")?;
    assert!(matches!(error, ServerError::AlreadyRunning { .. }), "{error}");
    assert_eq!(sql(&first.urls().admin, "SELECT 1")?, "1");
    first.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_server_whose_supervisor_was_killed_is_adopted() -> Outcome {
    let dir = scratch_dir()?;
    let mut supervisor = support::supervisor("supervise_until_killed", dir.path())?;
    supervisor.kill()?;
    supervisor.wait()?;
    let before = server_pid(dir.path())?;
    let server = PrivatePostgres::start(options(dir.path())).await?;
    assert_eq!(server_pid(dir.path())?, before);
    assert_eq!(sql(&server.urls().admin, "SELECT 1")?, "1");
    server.stop().await?;
    assert!(server_pid(dir.path()).is_err(), "the adopted server is stopped");
    Ok(())
}

#[tokio::test]
async fn a_server_with_other_settings_is_restarted_instead() -> Outcome {
    let dir = scratch_dir()?;
    let mut supervisor = support::supervisor("supervise_until_killed", dir.path())?;
    supervisor.kill()?;
    supervisor.wait()?;
    let before = server_pid(dir.path())?;
    let server = PrivatePostgres::start(PostgresOptions::new(dir.path(), Durability::Full)).await?;
    assert_ne!(server_pid(dir.path())?, before);
    assert_eq!(sql(&server.urls().admin, "SHOW fsync")?, "on");
    server.stop().await?;
    Ok(())
}

#[tokio::test]
#[ignore = "a part of the tests that kill a supervisor, which run it by name"]
async fn supervise_until_killed() -> Outcome {
    let Some(data_dir) = std::env::var_os(support::DATA_DIR) else {
        return Ok(());
    };
    let _server = PrivatePostgres::start(options(Path::new(&data_dir))).await?;
    println!("{}", support::UP);
    std::future::pending().await
}

fn server_pid(data_dir: &Path) -> Result<u32, Box<dyn Error>> {
    let text = fs::read_to_string(data_dir.join("postgres/postmaster.pid"))?;
    Ok(text.lines().next().unwrap_or_default().parse()?)
}

/// As after a restart of the machine, when the id in the file belongs to another program.
#[tokio::test]
async fn a_stale_pid_file_does_not_stand_in_the_way() -> Outcome {
    let dir = scratch_dir()?;
    let mut server = PrivatePostgres::start(options(dir.path())).await?;
    server.kill().await?;
    drop(server);
    let pid_file = dir.path().join("postgres/postmaster.pid");
    let stale = fs::read_to_string(&pid_file)?;
    let rest = stale.split_once('\n').ok_or("several lines")?.1;
    fs::write(&pid_file, format!("{}\n{rest}", std::process::id()))?;
    let server = PrivatePostgres::start(options(dir.path())).await?;
    assert_eq!(sql(&server.urls().admin, "SELECT 1")?, "1");
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_taken_port_is_replaced() -> Outcome {
    let dir = scratch_dir()?;
    PrivatePostgres::start(options(dir.path())).await?.stop().await?;
    let port: u16 = fs::read_to_string(dir.path().join("postgres.port"))?.trim().parse()?;
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let server = PrivatePostgres::start(options(dir.path())).await?;
    assert!(!server.urls().admin.expose().contains(&format!(":{port}/")));
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn secrets_are_private_and_not_in_arguments() -> Outcome {
    let dir = scratch_dir()?;
    let server = PrivatePostgres::start(options(dir.path())).await?;
    for entry in fs::read_dir(dir.path().join("secrets"))? {
        let entry = entry?;
        assert_eq!(entry.metadata()?.permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        let secret = fs::read_to_string(entry.path())?;
        let log = fs::read_to_string(dir.path().join("postgres.log"))?;
        assert!(!log.contains(secret.trim()), "{:?}", entry.path());
    }
    assert!(!format!("{server:?}").contains(password_of(&server.urls().admin.expose())));
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_missing_program_names_the_installer() -> Outcome {
    let dir = scratch_dir()?;
    let tools = ToolPaths { postgres: dir.path().join("none"), ..ToolPaths::default() };
    let error = PrivatePostgres::start(PostgresOptions { tools, ..options(dir.path()) })
        .await
        .err()
        .ok_or("it started")?;
    assert!(matches!(error, ServerError::MissingTool { .. }), "{error}");
    assert!(error.to_string().contains("run ops/install"), "{error}");
    Ok(())
}

/// Only root hands the cluster to another user.
#[tokio::test]
async fn an_unreachable_data_directory_is_named() -> Outcome {
    let dir = scratch_dir()?;
    let closed = dir.path().join("closed");
    fs::create_dir(&closed)?;
    fs::set_permissions(&closed, Permissions::from_mode(0o700))?;
    match PrivatePostgres::start(options(&closed.join("data"))).await {
        Err(ServerError::Unreachable { directory }) => {
            assert_eq!(directory, closed.canonicalize()?)
        }
        Err(error) => return Err(error.into()),
        Ok(server) => {
            assert!(!rustix::process::geteuid().is_root(), "root's own directory was entered");
            server.stop().await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_dropped_server_is_gone() -> Outcome {
    let dir = scratch_dir()?;
    drop(PrivatePostgres::start(options(dir.path())).await?);
    assert!(server_pid(dir.path()).is_err());
    let server = PrivatePostgres::start(options(dir.path())).await?;
    server.stop().await?;
    Ok(())
}
