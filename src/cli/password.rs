use std::io::{self, Write};

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, read};
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};

use super::failure::{Failure, Result};

/// Ask for a password at the terminal, without showing it.
pub fn ask(prompt: &str) -> Result<String> {
    let failed = |e: io::Error| Failure::new(format!("the password cannot be read: {e}"));
    eprint!("{prompt}");
    io::stderr().flush().map_err(failed)?;
    enable_raw_mode().map_err(failed)?;
    let typed = typed();
    let restored = disable_raw_mode();
    eprintln!();
    restored.map_err(failed)?;
    typed.map_err(failed)?.ok_or_else(Failure::interrupted)
}

/// What is typed up to Enter; None if it is cancelled.
fn typed() -> io::Result<Option<String>> {
    let mut password = String::new();
    loop {
        let key = match read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => key,
            Event::Paste(text) => {
                password.push_str(&text);
                continue;
            }
            _ => continue,
        };
        match key.code {
            KeyCode::Enter => return Ok(Some(password)),
            KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Ok(None);
            }
            KeyCode::Char(c) => password.push(c),
            KeyCode::Backspace => {
                password.pop();
            }
            _ => {}
        }
    }
}
