use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A folder with the database `shop.db`, in which the binary runs.
pub struct Place {
    folder: TempDir,
}

/// What a run said, with the folder's name left out.
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    /// What a run without fault wrote.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    /// The exit code and the error of a run that failed.
    #[track_caller]
    pub fn failed(self) -> String {
        assert_ne!(self.code, Some(0), "{}", self.out);
        format!("{}: {}", self.code.unwrap_or(-1), self.err)
    }
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shop = rusqlite::Connection::open(folder.path().join("shop.db")).unwrap();
        shop.execute_batch(
            "CREATE TABLE item (sku TEXT PRIMARY KEY, name TEXT, price DECIMAL(9,2), added DATE);
             INSERT INTO item VALUES ('a1', 'Größe, \"L\"', 12.5, '2026-01-02'), ('b2', '東京', 3, NULL), ('c3', NULL, NULL, NULL);",
        )
        .unwrap();
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_belvedere"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("COLUMNS", "100")
            .env_remove("BELVEDERE_LOG")
            .env_remove("BELVEDERE_PASSWORD")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        self.said(self.command(arguments).spawn().unwrap())
    }

    /// `sql` with what is written to its standard input.
    pub fn piped(&self, arguments: &[&str], input: &str) -> Said {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        self.said(child)
    }

    /// `sql -c` over the database, known as the source `shop`.
    pub fn ask(&self, sql: &str, more: &[&str]) -> Said {
        let mut arguments = vec![
            "sql",
            "-c",
            "CREATE SOURCE shop FROM 'sqlite:shop.db'",
            "-c",
            sql,
        ];
        arguments.extend(more);
        self.run(&arguments)
    }

    fn said(&self, child: Child) -> Said {
        let output = child.wait_with_output().unwrap();
        let folder = self.folder.path().canonicalize().unwrap();
        let clean = |bytes: Vec<u8>| {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            text.replace(folder.to_str().unwrap(), "[folder]")
                .replace(self.folder.path().to_str().unwrap(), "[folder]")
        };
        Said {
            code: output.status.code(),
            out: clean(output.stdout),
            err: clean(output.stderr),
        }
    }

    pub fn serve(&self, data: &str) -> Server {
        self.serve_with(data, &[])
    }

    pub fn serve_with(&self, data: &str, more: &[&str]) -> Server {
        let arguments = [
            "serve",
            "--data",
            data,
            "--flight",
            "127.0.0.1:0",
            "--postgres",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
        ];
        let mut child = self.command(&[&arguments, more].concat()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.find_map(|line| {
            let line = line.unwrap();
            line.split_whitespace()
                .find(|word| word.starts_with("grpc://") || word.starts_with("grpc+tls://"))
                .map(str::to_string)
        });
        let Some(url) = url else {
            let mut said = String::new();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut said)
                .unwrap();
            panic!("the server did not start: {said}");
        };
        Server { child, url }
    }
}

/// A running server.
pub struct Server {
    child: Child,
    pub url: String,
}

impl Server {
    pub fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    /// The same, and what it has logged.
    pub fn end_with_log(mut self) -> (Option<i32>, String) {
        let mut stderr = self.child.stderr.take().unwrap();
        let code = self.end();
        let mut log = String::new();
        stderr.read_to_string(&mut log).unwrap();
        (code, log)
    }

    /// End it as a power failure does, as far as the process is concerned.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tell it to end, and wait for that: its exit code.
    pub fn end(mut self) -> Option<i32> {
        let told = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(told.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
