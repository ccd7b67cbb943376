//! The committed schema is the one that is served. `OBSQRA_UPDATE_SCHEMA=1` writes it anew.

use std::path::Path;

#[test]
fn the_committed_schema_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.graphql");
    let served = obsqra_graphql::schema_sdl();
    if std::env::var_os("OBSQRA_UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &served).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(
        committed == served,
        "graphql/schema.graphql is out of date: run this test with OBSQRA_UPDATE_SCHEMA=1 and look at the change"
    );
}

/// Built-in scalars and the types that the GraphQL library itself adds are documented by it.
#[test]
fn every_field_is_documented() {
    let sdl = obsqra_graphql::schema_sdl();
    let mut documented = false;
    let mut undocumented = Vec::new();
    let mut inside = false;
    for line in sdl.lines() {
        let text = line.trim();
        let is_member =
            inside && line.starts_with('\t') && text.contains(':') && !text.starts_with(['"', ')']);
        if is_member && !documented {
            undocumented.push(text);
        }
        if text.ends_with('{') {
            inside = !text.starts_with("schema");
        }
        documented = text.ends_with("\"\"\"");
    }
    assert!(undocumented.is_empty(), "without a description: {undocumented:#?}");
}
