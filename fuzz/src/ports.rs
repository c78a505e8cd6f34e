use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use belvedere::Engine;
use belvedere::serve::fuzzing::{self, Ports};
use belvedere_memory::{MemoryConnector, MemorySource, MemoryTable};
use tokio::runtime::{Builder, Runtime};

/// In what is sent it stands for a token of the user's, which is another each time.
const TOKEN: &[u8; 64] = b"tokentokentokentokentokentokentokentokentokentokentokentokentoke";
/// RFC 7677, section 3: of the password `pencil`.
const VERIFIER: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
    WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
/// Of who knows it. Of others nobody finds it.
const PROOF: &str = "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

const SETTINGS: &[&str] = &[
    "read_after",
    "max_staleness",
    "stale_if_error",
    "statement_timeout",
    "memory_limit",
    "consistency",
    "search_path",
    "timezone",
    "datestyle",
    "pushdown",
    "application_name",
];

struct World {
    runtime: Runtime,
    engine: Engine,
    ports: Ports,
}

/// A user, `ana`, who may read a table of a source in memory and a view of it, and change nothing.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let engine = runtime.block_on(engine());
    let ports = Ports::new(&engine, "ana");
    World {
        runtime,
        engine,
        ports,
    }
});

async fn engine() -> Engine {
    let id: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let name: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("c")]));
    let batch = RecordBatch::try_from_iter([("id", id), ("name", name)]).expect("a batch");
    let table = MemoryTable::new(batch.schema(), vec![batch]);
    let memory = MemorySource::new("mem").with_table("t", table);
    let connector = MemoryConnector::new().with(memory);
    let builder = Engine::builder().connector(Arc::new(connector));
    let engine = builder.memory_limit(256 << 20).open().await;
    let engine = engine.expect("an engine");
    // What may write files is nobody's that could be made up.
    let secret = RandomState::new().hash_one("root");
    let root = format!("CREATE USER root PASSWORD '{secret:x}' SUPERUSER");
    for sql in [
        "CREATE SOURCE mem FROM 'memory:mem'",
        "CREATE VIEW names AS SELECT id, name FROM mem.t",
        &root,
        "CREATE USER ana PASSWORD 'pencil'",
        "GRANT SELECT ON mem.t, names TO ana",
    ] {
        let answer = engine.session().execute(sql).await;
        answer.expect(sql).collect().await.expect(sql);
    }
    engine
}

/// A setting, by the first byte, is given a value, by the others.
pub fn settings(data: &[u8]) {
    let Some((of, value)) = data.split_first() else {
        return;
    };
    let Ok(value) = std::str::from_utf8(value) else {
        return;
    };
    let name = SETTINGS[usize::from(*of) % SETTINGS.len()];
    let session = WORLD.engine.session_as("ana");
    if session.set(name, value).is_err() {
        return;
    }
    let settings = session.settings();
    let mut all = settings.iter();
    let taken = all.find(|(of, ..)| *of == name).map(|(_, value, _)| value);
    if let Some(taken) = taken {
        let again = session.set(name, &taken);
        assert!(again.is_ok(), "{name} = {value:?} is shown as {taken:?}");
    }
}

/// Two messages with a NUL in between, and a header.
pub fn logins(data: &[u8]) {
    if let Some((user, _)) = fuzzing::authorization(data) {
        assert!(!user.is_empty() && !user.contains(':'));
    }
    let mut messages = data.splitn(2, |byte| *byte == 0);
    let (first, last) = (messages.next(), messages.next());
    let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
    if fuzzing::scram(VERIFIER, NONCE, first, last) {
        let last = String::from_utf8_lossy(last);
        assert!(last.ends_with(PROOF), "{last} is let in");
    }
}

pub fn postgres(data: &[u8]) {
    let told = WORLD.runtime.block_on(WORLD.ports.postgres(data));
    // `R` with 0: who it is is known. Nobody guesses our part of the nonce.
    let is_let_in = told.windows(9).any(|told| told == b"R\0\0\0\x08\0\0\0\0");
    assert!(!is_let_in, "{data:?} is let in");
}

pub fn postgres_inside(data: &[u8]) {
    WORLD.runtime.block_on(WORLD.ports.postgres_inside(data));
}

pub fn http(data: &[u8]) {
    WORLD.runtime.block_on(WORLD.ports.http(&with_token(data)));
}

pub fn flight(data: &[u8]) {
    WORLD
        .runtime
        .block_on(WORLD.ports.flight(&with_token(data)));
}

pub fn calls(data: &[u8]) {
    if let Some((method, message)) = data.split_first() {
        WORLD.runtime.block_on(WORLD.ports.call(*method, message));
    }
}

fn with_token(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    let found = data.windows(TOKEN.len()).position(|part| part == TOKEN);
    if let Some(at) = found {
        data[at..at + TOKEN.len()].copy_from_slice(WORLD.ports.token().as_bytes());
    }
    data
}
