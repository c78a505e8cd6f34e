use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde::Deserialize;

use crate::answers::Rows;

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/federated/peers.py");

/// Another engine, in a process of its own (`peers.py`): it is told a file with a query, and answers with a line.
pub struct Peer {
    pub title: &'static str,
    python: String,
    arguments: Vec<String>,
    /// None: it has ended, and is started again for the next question.
    running: Option<Running>,
}

struct Running {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Answer {
        seconds: f64,
        rows: Vec<Vec<Option<String>>>,
    },
    Error(String),
}

impl Peer {
    pub fn new(title: &'static str, python: &str, arguments: Vec<String>) -> Self {
        Self {
            title,
            python: python.to_string(),
            arguments,
            running: None,
        }
    }

    /// Else why it has no answer.
    pub fn answered(&mut self, path: &str) -> Result<(Rows, Duration), String> {
        let running = match &mut self.running {
            Some(running) => running,
            none => none.insert(Running::start(&self.python, &self.arguments)),
        };
        let mut line = String::new();
        let asked = writeln!(running.questions, "{path}");
        let read = asked.and_then(|()| running.answers.read_line(&mut line));
        if read.is_err() || line.is_empty() {
            let ended = self.running.take().map(Running::end);
            return Err(ended.unwrap_or_default());
        }
        match serde_json::from_str(&line) {
            Ok(Line::Answer { seconds, rows }) => {
                Ok((Rows::new(rows), Duration::from_secs_f64(seconds)))
            }
            Ok(Line::Error(why)) => Err(why),
            Err(e) => Err(format!("its answer is not understood: {e}")),
        }
    }
}

impl Running {
    fn start(python: &str, arguments: &[String]) -> Self {
        let mut process = Command::new(python)
            .arg(PROGRAM)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a peer starts");
        let questions = process.stdin.take().expect("a pipe");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        Self {
            process,
            questions,
            answers,
        }
    }

    /// How a process that says nothing more ended.
    fn end(mut self) -> String {
        use std::os::unix::process::ExitStatusExt;
        let status = self.process.wait().expect("a child of ours");
        match status.signal() {
            // Its own alarm.
            Some(14) => "no answer within 120 s".to_string(),
            Some(9) => "killed, which is what the system does where memory ends".to_string(),
            _ => format!("its process ended: {status}"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
