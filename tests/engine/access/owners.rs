//! Whose something is, and who is given it.

use super::*;

async fn definer(world: &World, view: &str) -> String {
    let sql = format!("SELECT definer FROM system.views WHERE name = '{view}'");
    rows(&world.root, &sql).await.concat()
}

#[tokio::test]
async fn a_view_is_given_to_another() {
    let world = world().await;
    for sql in [
        "GRANT SELECT ON hrsys.zstaff TO ana",
        "GRANT CREATE ON SCHEMA public TO ana",
    ] {
        world.grant(sql).await;
    }
    done(
        &world.ana,
        "CREATE VIEW anas AS SELECT id FROM hrsys.zstaff",
    )
    .await;
    let (_, message) = refused(&world.root, "DROP USER ana").await;
    assert!(message.contains("REASSIGN OWNED BY ana"), "{message}");
    for (session, sql) in [
        (&world.bob, "ALTER VIEW anas OWNER TO bob"),
        (&world.ana, "ALTER VIEW anas OWNER TO bob"),
        (&world.ana, "ALTER VIEW anas OWNER TO root"),
        (&world.ana, "REASSIGN OWNED BY root TO ana"),
        (&world.ana, "REASSIGN OWNED BY ana TO bob"),
        (&world.ana, "ALTER SOURCE hrsys OWNER TO ana"),
        // It could not define it there itself.
        (&world.ana, "ALTER VIEW anas OWNER TO sales"),
    ] {
        let (state, message) = refused(session, sql).await;
        assert!(["42501", "42P01"].contains(&state), "{sql}: {message}");
    }
    assert_eq!(
        refused(&world.root, "ALTER VIEW anas OWNER TO nobody")
            .await
            .0,
        "42704"
    );
    world.grant("GRANT CREATE ON SCHEMA public TO sales").await;
    done(&world.ana, "ALTER VIEW anas OWNER TO sales").await;
    assert_eq!(definer(&world, "anas").await, "sales");
    // It reads with the rights of the role, which has none on what it reads.
    let (_, message) = refused(&world.ana, "SELECT * FROM anas").await;
    assert!(message.contains("cannot be read any more"), "{message}");
    world.grant("GRANT SELECT ON hrsys.zstaff TO sales").await;
    assert_eq!(rows(&world.ana, "SELECT * FROM anas").await.len(), 2);
    done(&world.root, "ALTER TABLE anas OWNER TO ana").await;
    assert_eq!(definer(&world, "anas").await, "ana");
    done(&world.root, "DROP VIEW anas").await;
    done(&world.root, "DROP USER ana").await;
}

#[tokio::test]
async fn all_that_somebody_has_defined_is_anothers() {
    let world = world().await;
    done(&world.root, "CREATE SOURCE hers FROM 'memory:hrsys'").await;
    done(&world.root, "CREATE VIEW one AS SELECT id FROM hers.zstaff").await;
    done(
        &world.root,
        "CREATE MATERIALIZED VIEW two WITH (refresh = 'manual', wait = true) AS SELECT id FROM hers.zstaff",
    )
    .await;
    done(&world.root, "CREATE USER next PASSWORD 'n' SUPERUSER").await;
    done(&world.root, "REASSIGN OWNED BY root, ana TO next").await;
    for view in ["one", "two"] {
        assert_eq!(definer(&world, view).await, "next");
    }
    done(&world.root, "REFRESH MATERIALIZED VIEW two").await;
    assert_eq!(rows(&world.root, "SELECT count(*) FROM two").await, ["2"]);
    let next = world.engine.session_as("next");
    done(&next, "DROP USER root").await;
    assert_eq!(rows(&next, "SELECT count(*) FROM one").await, ["2"]);
}
