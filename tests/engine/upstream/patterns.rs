use crate::fixture::Fixture;

/// Any character may escape, also one that is computed with the pattern.
#[tokio::test]
async fn patterns_have_the_escape_that_they_say() {
    let t = Fixture::new().await;
    for (condition, is_so) in [
        ("'a_b' LIKE 'a/_b' ESCAPE '/'", true),
        ("'axb' LIKE 'a/_b' ESCAPE '/'", false),
        ("'axb' LIKE 'a_b' ESCAPE '/'", true),
        ("'a/b' LIKE 'a//b' ESCAPE '/'", true),
        ("'50%' LIKE '%#%' ESCAPE '#'", true),
        ("'50' LIKE '%#%' ESCAPE '#'", false),
        ("'a\\b' LIKE 'a\\b' ESCAPE '/'", true),
        ("'pg_x' NOT LIKE concat('pg/_', '%') ESCAPE '/'", false),
        ("'pgx' NOT LIKE concat('pg/_', '%') ESCAPE '/'", true),
        ("'A_B' ILIKE concat('a/', '_b') ESCAPE '/'", true),
        ("'a/b' LIKE concat('a//', 'b') ESCAPE '/'", true),
    ] {
        let found = t.ok(&format!("SELECT ({condition}) AS is_so")).await;
        assert!(
            found.contains(&format!("| {is_so}")),
            "{condition}: {found}"
        );
    }
}
