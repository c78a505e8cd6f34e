//! A private PostgreSQL for tests, in a temporary folder, on a free port of loopback, stopped when dropped.
//!
//! Its programs are those of the folder `BELVEDERE_POSTGRES_BIN`, otherwise the newest that Debian's packages installed.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

pub struct Server {
    /// None: somebody else's.
    own: Option<Own>,
    pub port: u16,
}

struct Own {
    data: PathBuf,
    port: u16,
    options: &'static str,
    /// Removed last.
    _folder: tempfile::TempDir,
}

impl Server {
    /// The server that tests running at the same time share.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(match std::env::var("BELVEDERE_TEST_POSTGRES") {
                Ok(url) => Self::existing(&url),
                Err(_) => Self::private(),
            });
            *shared = Arc::downgrade(&server);
            server
        })
    }

    fn existing(url: &str) -> Self {
        let port = url
            .rsplit_once(':')
            .and_then(|(_, rest)| rest.split('/').next()?.parse().ok())
            .expect("BELVEDERE_TEST_POSTGRES is postgres://postgres@127.0.0.1:PORT/postgres");
        Self { own: None, port }
    }

    /// One of its own, whatever the environment says: it can be stopped.
    pub fn private() -> Self {
        Self::private_with("")
    }

    /// With options of its command line, which prevail over these here.
    pub fn private_with(options: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("a data folder");
        run("chmod", &["755".as_ref(), folder.path()]);
        if is_root() {
            run("chown", &["postgres".as_ref(), data.as_path()]);
        }
        postgres(
            "initdb",
            &[
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "-N",
                "-D",
            ],
            &data,
        );
        // The role `locked` alone needs a password.
        let hba = data.join("pg_hba.conf");
        let rules = std::fs::read_to_string(&hba).expect("pg_hba.conf");
        let locked = "host all locked 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(&hba, format!("{locked}{rules}")).expect("pg_hba.conf");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let own = Own {
            data,
            port,
            options,
            _folder: folder,
        };
        own.start();
        Self {
            own: Some(own),
            port,
        }
    }

    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Speak TLS from now on, with the certificate and key of these files.
    pub fn enable_tls(&self, certificate: &Path, key: &Path) {
        let own = self.own.as_ref().expect("a server of our own");
        for (from, name) in [(certificate, "server.crt"), (key, "server.key")] {
            let to = own.data.join(name);
            std::fs::copy(from, &to).expect("a copy");
            run("chmod", &["600".as_ref(), to.as_path()]);
            if is_root() {
                run("chown", &["postgres".as_ref(), to.as_path()]);
            }
        }
        let conf = own.data.join("postgresql.auto.conf");
        std::fs::write(conf, "ssl = on\n").expect("postgresql.auto.conf");
        self.restart();
    }

    /// Stop at once, as a crash would, and start again.
    pub fn restart(&self) {
        let own = self.own.as_ref().expect("a server of our own");
        own.stop();
        own.start();
    }
}

impl Own {
    fn start(&self) {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off \
             -c max_connections=60 -c shared_buffers=64MB -c autovacuum=off \
             -c wal_level=logical -c max_replication_slots=40 -c max_wal_senders=40 {}",
            self.port, self.options
        );
        let log = self.data.join("server.log");
        let log = log.to_str().expect("a plain path");
        postgres(
            "pg_ctl",
            &["-w", "-s", "-l", log, "-o", &options, "start", "-D"],
            &self.data,
        );
    }

    fn stop(&self) {
        postgres(
            "pg_ctl",
            &["-w", "-s", "-m", "immediate", "stop", "-D"],
            &self.data,
        );
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.stop();
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id");
    id.stdout == b"0\n"
}

/// PostgreSQL refuses to run as root.
fn postgres(program: &str, args: &[&str], data: &Path) {
    let program = found(program);
    let mut command = if is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    let status = command
        .args(args)
        .arg(data)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .expect("PostgreSQL's programs start");
    assert!(status.success(), "{args:?}: {status}");
}

fn found(program: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("BELVEDERE_POSTGRES_BIN") {
        return Path::new(&folder).join(program);
    }
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin").join(program)))
        })
        .collect();
    found.sort();
    found.pop().map_or_else(|| program.into(), |(_, path)| path)
}

fn run(program: &str, args: &[&Path]) {
    let status = Command::new(program).args(args).status().expect(program);
    assert!(status.success(), "{program}");
}
