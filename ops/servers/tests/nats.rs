//! A private nats-server through crashes of the server and of its supervisor.

mod support;

use std::error::Error;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use obsqra_servers::{Durability, NatsOptions, PrivateNats, ServerError, ToolPaths, scratch_dir};

type Outcome = Result<(), Box<dyn Error>>;

const ANSWER_LIMIT: Duration = Duration::from_secs(10);

fn options(data_dir: &Path) -> NatsOptions {
    NatsOptions::new(data_dir, Durability::Full)
}

/// One request in the text protocol; the answer's body, or the server's refusal.
fn request(server: &PrivateNats, subject: &str, body: &str) -> Result<String, Box<dyn Error>> {
    ask(server, server.token().expose(), subject, body)
}

fn ask(
    server: &PrivateNats,
    token: &str,
    subject: &str,
    body: &str,
) -> Result<String, Box<dyn Error>> {
    let address = server.url().replace("nats://", "");
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let length = body.len();
    write!(stream, "CONNECT {{\"auth_token\":\"{token}\",\"verbose\":false}}\r\nSUB answer 1\r\n")?;
    write!(stream, "PUB {subject} answer {length}\r\n{body}\r\n")?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next().transpose()? {
        if line.starts_with("-ERR") {
            return Err(line.into());
        }
        if line.starts_with("MSG answer") {
            return Ok(lines.next().transpose()?.unwrap_or_default());
        }
    }
    Err("the server hung up".into())
}

fn make_stream_with_one_message(server: &PrivateNats) -> Outcome {
    let stream = r#"{"name":"KEPT","subjects":["kept.>"],"storage":"file"}"#;
    let made = request(server, "$JS.API.STREAM.CREATE.KEPT", stream)?;
    assert!(!made.contains("error"), "{made}");
    let stored = request(server, "kept.one", "hello")?;
    assert!(stored.contains("\"seq\":1"), "{stored}");
    Ok(())
}

fn message_is_kept(server: &PrivateNats) -> Outcome {
    let info = request(server, "$JS.API.STREAM.INFO.KEPT", "")?;
    assert!(info.contains("\"messages\":1"), "{info}");
    Ok(())
}

#[tokio::test]
async fn a_killed_server_comes_back_with_its_streams() -> Outcome {
    let dir = scratch_dir()?;
    let mut server = PrivateNats::start(options(dir.path())).await?;
    make_stream_with_one_message(&server)?;
    let url = server.url();
    server.kill().await?;
    assert!(!server.is_running());
    server.restart().await?;
    assert_eq!(server.url(), url);
    message_is_kept(&server)?;
    server.stop().await?;
    let server = PrivateNats::start(options(dir.path())).await?;
    message_is_kept(&server)?;
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_wrong_token_is_refused() -> Outcome {
    let dir = scratch_dir()?;
    let server = PrivateNats::start(options(dir.path())).await?;
    // The server may hang up before it has read, or written, everything.
    assert!(ask(&server, "wrong", "$JS.API.INFO", "").is_err());
    assert!(request(&server, "$JS.API.INFO", "")?.contains("memory"));
    let mode = fs::metadata(dir.path().join("nats/nats.conf"))?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_second_supervisor_is_told_of_the_first() -> Outcome {
    let dir = scratch_dir()?;
    let first = PrivateNats::start(options(dir.path())).await?;
    let error =
        PrivateNats::start(options(dir.path())).await.err().ok_or("a second supervisor started")?;
    assert!(matches!(error, ServerError::AlreadyRunning { .. }), "{error}");
    first.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_server_whose_supervisor_was_killed_is_adopted() -> Outcome {
    let dir = scratch_dir()?;
    let mut supervisor = support::supervisor("supervise_until_killed", dir.path())?;
    supervisor.kill()?;
    supervisor.wait()?;
    let pid_file = dir.path().join("nats/nats.pid");
    let before = fs::read_to_string(&pid_file)?;
    let server = PrivateNats::start(options(dir.path())).await?;
    assert_eq!(fs::read_to_string(&pid_file)?, before);
    make_stream_with_one_message(&server)?;
    server.stop().await?;
    assert!(!Path::new("/proc").join(before.trim()).join("exe").exists());
    Ok(())
}

#[tokio::test]
#[ignore = "a part of the test that kills a supervisor, which runs it by name"]
async fn supervise_until_killed() -> Outcome {
    let Some(data_dir) = std::env::var_os(support::DATA_DIR) else {
        return Ok(());
    };
    let _server = PrivateNats::start(options(Path::new(&data_dir))).await?;
    println!("{}", support::UP);
    std::future::pending().await
}

#[tokio::test]
async fn a_missing_program_names_the_installer() -> Outcome {
    let dir = scratch_dir()?;
    let tools = ToolPaths { nats: vec![dir.path().join("none")], ..ToolPaths::default() };
    let error = PrivateNats::start(NatsOptions { tools, ..options(dir.path()) })
        .await
        .err()
        .ok_or("it started")?;
    assert!(error.to_string().contains("run ops/install"), "{error}");
    Ok(())
}

#[tokio::test]
async fn an_old_program_names_its_version() -> Outcome {
    let dir = scratch_dir()?;
    let program = dir.path().join("nats-server");
    fs::write(&program, "#!/bin/sh\necho nats-server: v2.9.10\n")?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let tools = ToolPaths { nats: vec![dir.path().to_owned()], ..ToolPaths::default() };
    let error = PrivateNats::start(NatsOptions { tools, ..options(dir.path()) })
        .await
        .err()
        .ok_or("it started")?;
    assert!(matches!(error, ServerError::ToolTooOld { .. }), "{error}");
    Ok(())
}
