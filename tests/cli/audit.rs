use std::fs;
use std::path::PathBuf;

use super::support::{Place, Server};

fn ask(place: &Place, server: &Server, sql: &str) -> String {
    let connect = [
        "sql",
        "--connect",
        &server.url,
        "--format",
        "csv",
        "-c",
        sql,
    ];
    place.run(&connect).ok()
}

fn verify(place: &Place, more: &[&str]) -> super::support::Said {
    place.run(&[&["audit", "verify", "--data", "data"][..], more].concat())
}

fn newest_file(place: &Place) -> PathBuf {
    let files = fs::read_dir(place.path("data/audit")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    files
        .filter(|file| file.extension().is_some())
        .max()
        .unwrap()
}

/// The newest head that a log has.
fn head(log: &str) -> String {
    let (_, head) = log.rsplit_once("audit: the newest record is ").unwrap();
    head.split_whitespace().next().unwrap().to_string()
}

#[test]
fn what_was_changed_or_cut_is_found() {
    let place = Place::new();
    assert_eq!(verify(&place, &[]).code, Some(2));
    let server = place.serve("data");
    ask(&place, &server, "CREATE SCHEMA one");
    ask(&place, &server, "SELECT 1");
    ask(&place, &server, "CREATE SCHEMA two");
    let shown = ask(
        &place,
        &server,
        "SELECT event, protocol, address, statement, outcome FROM system.audit WHERE seq > 3",
    );
    assert_eq!(
        shown,
        "event,protocol,address,statement,outcome\n\
         statement,flight,127.0.0.1,CREATE SCHEMA two,ok\n\
         begun,flight,127.0.0.1,CREATE SCHEMA two,\n"
    );
    // As long as it runs, too.
    verify(&place, &[]).ok();
    let (code, log) = server.end_with_log();
    assert_eq!(code, Some(0), "{log}");
    let head = head(&log);
    let said = verify(&place, &["--head", &head]).ok();
    assert_eq!(
        said,
        format!("records 1 to 5 in 1 file, 5 in all, are as they were written\nhead: {head}\n")
    );

    let file = newest_file(&place);
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, whole.replacen("SCHEMA one", "SCHEMA two", 1)).unwrap();
    let changed = verify(&place, &[]);
    assert_eq!(changed.code, Some(1));
    assert!(
        changed.out.contains("line 2: it is not as it was written"),
        "{}",
        changed.out
    );
    assert!(
        changed
            .err
            .starts_with("error: the audit is not as it was written")
    );

    // The end, and the head that is noted beside it.
    let end = whole.trim_end().rfind('\n').unwrap() + 1;
    fs::write(&file, &whole[..end]).unwrap();
    assert_eq!(verify(&place, &[]).code, Some(1));
    fs::remove_file(place.path("data/audit/head")).unwrap();
    verify(&place, &[]).ok();
    let cut = verify(&place, &["--head", &head]);
    assert_eq!(cut.code, Some(1));
    assert!(
        cut.out.contains(
            "the end is cut off: the log's head is of record 5, and there are records up to 4"
        ),
        "{}",
        cut.out
    );
}

#[test]
fn what_is_killed_under_load_leaves_a_chain_that_goes_on() {
    let place = Place::new();
    for round in 0..3 {
        let server = place.serve_with("data", &["--audit", "all"]);
        let url = server.url.clone();
        std::thread::scope(|scope| {
            for client in 0..3 {
                let (place, url) = (&place, &url);
                scope.spawn(move || {
                    let mut arguments = vec!["sql".to_string(), "--connect".into(), url.clone()];
                    for n in 0..200 {
                        arguments.push("-c".into());
                        arguments.push(match n % 10 {
                            0 => format!("CREATE SCHEMA s{round}_{client}_{n}"),
                            _ => format!("SELECT {n}"),
                        });
                    }
                    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                    // It is cut off.
                    place.run(&arguments);
                });
            }
            let file = place.path("data/audit");
            let size = || -> u64 {
                let files = fs::read_dir(&file).into_iter().flatten().flatten();
                files
                    .filter_map(|file| Some(file.metadata().ok()?.len()))
                    .sum()
            };
            let before = size();
            while size() < before + 20_000 {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            server.kill();
        });
        let verified = verify(&place, &[]);
        assert_eq!(verified.code, Some(0), "{}{}", verified.out, verified.err);
    }
    // What was defined is recorded: whatever there is, there is a record of from before it was.
    let server = place.serve("data");
    let unrecorded = "SELECT count(*) FROM information_schema.schemata \
        WHERE schema_name LIKE 's%\\_%\\_%' AND NOT EXISTS (SELECT 1 FROM system.audit \
          WHERE event = 'begun' AND statement = 'CREATE SCHEMA ' || schema_name)";
    let answered = ask(&place, &server, unrecorded);
    assert_eq!(answered.lines().nth(1), Some("0"), "{answered}");
    let (code, log) = server.end_with_log();
    assert_eq!(code, Some(0));
    verify(&place, &["--head", &head(&log)]).ok();
}
