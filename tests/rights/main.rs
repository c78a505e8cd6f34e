//! Users × objects × actions on every protocol: what is allowed works, what is forbidden fails with the right code, and says of what is
//! hidden what it says of what is not there. The count is printed.

mod model;
mod protocols;

use std::sync::atomic::{AtomicU32, Ordering};

use model::{ACTIONS, Action, Expected, OBJECTS, USERS, expected};
use protocols::{Protocol, Served};

#[tokio::test(flavor = "multi_thread")]
async fn each_cell_is_as_it_has_to_be() {
    let served = Served::start().await;
    let next = AtomicU32::new(1000);
    let (mut cells, mut allowed, mut hidden, mut denied) = (0, 0, 0, 0);
    let mut wrong = Vec::new();
    for protocol in Protocol::ALL {
        for user in USERS.into_iter().filter(|user| protocol.is_for(user)) {
            let client = served.client(protocol, user).await;
            for object in &OBJECTS {
                for action in ACTIONS.iter().filter(|action| action.is_for(object)) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let sql = action.sql(object.name, number);
                    let what = format!("{protocol:?}: {user}: {sql}");
                    let told = client.ask(&sql).await;
                    match (expected(user, object, action), &told) {
                        (Expected::Allowed, Ok(())) => {
                            allowed += 1;
                            // Others would see no row for it.
                            if *action == Action::Policy {
                                let drop = format!("DROP POLICY mine ON {}", object.name);
                                client.ask(&drop).await.unwrap();
                            }
                        }
                        (wanted @ (Expected::Hidden | Expected::HiddenColumn), Err(e)) => {
                            let name = match wanted {
                                Expected::Hidden => last(object.name),
                                _ => "zqpay",
                            };
                            let nothing = "j".repeat(name.len());
                            let twin = client.ask(&sql.replace(name, &nothing)).await;
                            let twin = twin.expect_err("nothing has this name");
                            let is_same = e.message.replace(name, &nothing) == twin.message;
                            if !is_same || e.code != twin.code || !e.says_not_there() {
                                wrong.push(format!("{what}: {e:?}, of nothing {twin:?}"));
                            }
                            hidden += 1;
                        }
                        (Expected::Denied, Err(e)) => {
                            let hides = ["zqpay", "EMEA", "hush"];
                            let is_told = hides.iter().any(|secret| e.message.contains(secret));
                            if !e.says_denied() || is_told {
                                wrong.push(format!("{what}: {e:?}"));
                            }
                            denied += 1;
                        }
                        (wanted, told) => {
                            wrong.push(format!("{what}: {wanted:?} expected, {told:?}"))
                        }
                    }
                    cells += 1;
                }
            }
        }
    }
    println!(
        "{cells} cells: {allowed} allowed, {hidden} of what is not there, {denied} denied, on {} protocols",
        Protocol::ALL.len()
    );
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(cells > 1500 && allowed > 300 && hidden > 300 && denied > 150);
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}
