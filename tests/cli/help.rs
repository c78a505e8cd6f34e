use super::support::Place;

#[test]
fn help_teaches() {
    let place = Place::new();
    insta::assert_snapshot!("help", place.run(&["--help"]).ok());
    insta::assert_snapshot!(
        "help_audit_verify",
        place.run(&["audit", "verify", "--help"]).ok()
    );
    for command in ["demo", "serve", "sql", "apply", "check"] {
        insta::assert_snapshot!(
            format!("help_{command}"),
            place.run(&[command, "--help"]).ok()
        );
    }
}

#[test]
fn without_a_command_the_help_is_shown() {
    let said = Place::new().run(&[]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("Start here:"), "{}", said.err);
}

#[test]
fn what_the_command_line_cannot_mean_is_refused() {
    let place = Place::new();
    for arguments in [
        &["sqll"][..],
        &["serve"],
        &["sql", "--format", "xml"],
        &["sql", "--data", "d", "--connect", "grpc://127.0.0.1:1"],
        &["serve", "--data", "d", "--flight", "127.0.0.1"],
        &["serve", "--data", "d", "--tls-cert", "c.pem"],
        &["sql", "--tls-ca", "c.pem", "-c", "SELECT 1"],
        &["serve", "--data", "d", "--audit", "some"],
        &["audit", "verify", "--data", ".", "--head", "1:2"],
        &["audit", "verify", "--data", "nowhere"],
    ] {
        let said = place.run(arguments);
        assert_eq!(said.code, Some(2), "{arguments:?}: {}", said.err);
        assert!(said.err.starts_with("error: "), "{}", said.err);
    }
}
