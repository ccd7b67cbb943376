//! What went wrong, as one sentence.

/// An error with what it comes from. Many errors repeat their source in their own text: what was said
/// already is left out.
pub(crate) fn sentence(problem: &anyhow::Error) -> String {
    let mut sentence = String::new();
    for cause in problem.chain() {
        let text = cause.to_string();
        if sentence.is_empty() {
            sentence = text;
        } else if !sentence.ends_with(&text) {
            sentence = format!("{sentence}: {text}");
        }
    }
    sentence
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::sentence;

    #[test]
    fn what_was_said_is_not_said_again() {
        let source = anyhow!("connection refused");
        let repeats = source.context("database: connection refused");
        let problem = repeats.context("cannot start");
        assert_eq!(sentence(&problem), "cannot start: database: connection refused");
    }
}
