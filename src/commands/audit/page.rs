//! The page of an audit: one file that holds everything, for any browser, without a network.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lanet_live::error::{Context, Result};
use lanet_live::expression::Expression;
use lanet_live::net::card::fingerprint;
use lanet_live::part::Part;
use serde_json::json;

use super::Judged;

/// The page without its data, which stand where it says `AUDIT`.
const PAGE: &str = include_str!("page.html");

/// Writes the page of so many judged labels, of which these are shown, each with its place in the ranking.
///
/// # Errors
/// A disk that is full.
pub fn save(part: Part, data: &Path, judged: usize, shown: &[(usize, &Judged)]) -> Result<()> {
    let faces: Vec<_> = shown
        .iter()
        .map(|(n, one)| {
            let kind = if one.face.picture.starts_with(&[0xff, 0xd8]) { "jpeg" } else { "png" };
            let ([start, end], (suggested, probability)) = (one.piece.seconds(), one.suggested());
            json!({
                "rank": n + 1,
                "path": one.piece.path,
                "start": start,
                "end": end,
                "moment": one.moment(),
                "given": one.given,
                "suggested": suggested,
                "probability": probability,
                "estimate": one.estimate.0.map(|p| (f64::from(p) * 1e4).round() / 1e4),
                "picture": format!("data:image/{kind};base64,{}", STANDARD.encode(&one.face.picture)),
            })
        })
        .collect();
    let about = json!({
        // What was decided on one page is not decided on another.
        "id": &fingerprint(format!("{judged} {faces:?}").as_bytes())[..16],
        "data": data.file_name().unwrap_or(data.as_os_str()).to_string_lossy(),
        "judged": judged,
    });
    let names = Expression::ALL.map(Expression::name);
    let text = json!({ "about": about, "expressions": names, "faces": faces }).to_string();
    // No name of a file ends the data.
    let page = PAGE.replacen("AUDIT", &text.replace('<', "\\u003c"), 1);
    std::fs::write(part.path(), page)
        .with_context(|| format!("cannot write '{}'", part.target().display()))?;
    part.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_place_for_its_data_and_names_no_other_file() {
        assert_eq!(PAGE.matches("AUDIT").count(), 1);
        for foreign in ["http:", "https:", "//cdn", "<link", "@import", "src=\""] {
            assert!(!PAGE.contains(foreign), "{foreign}");
        }
    }
}
