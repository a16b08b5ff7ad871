//! Wrong labels: found, corrected on a page, and learnt from; and calibration on labelled pictures.

use std::fs;

use crate::learning::{lanet_live, painted_data, painted_start};
use crate::scratch::Scratch;

/// Painted pictures of three expressions, of which a dark one is called happiness and a striped one sadness.
fn mislabelled(folder: &Scratch) {
    painted_start(&folder.path("start.safetensors"));
    painted_data(&folder.path("data"));
    for (from, to) in [("sadness/3.png", "happiness/dark.png"), ("anger/5.png", "sadness/striped <i>, 1.png")]
    {
        fs::rename(folder.path("data").join(from), folder.path("data").join(to)).unwrap();
    }
}

const AUDIT: &str = "audit --data data --start start.safetensors --cache cache --output out";

#[test]
fn wrong_labels_come_first_and_their_corrections_are_learnt() {
    let folder = Scratch::new();
    mislabelled(&folder);
    let (success, told, said) = lanet_live(&folder, &format!("{AUDIT} --faces 3 --probabilities told.csv"));
    assert!(success, "{said}");
    assert!(told.starts_with("60 labels judged,") && told.contains("audit.html"), "{told}");
    let table = fs::read_to_string(folder.path("out/audit.csv")).unwrap();
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!((rows.len(), rows[0]), (61, "path,start,end,given,suggested,probability,rank,moment"));
    // Random layers tell little: one that is right may come between.
    let first = rows[1..4].join("\n");
    assert!(first.contains("\"sadness/striped <i>, 1.png\",,,sadness,anger,"), "{first}");
    assert!(first.contains("happiness/dark.png,,,happiness,sadness,"), "{first}");
    assert!(rows[60].ends_with(",60,"));
    let told = fs::read_to_string(folder.path("told.csv")).unwrap();
    assert_eq!(told.lines().count(), 61);
    // The page holds three faces at most, and no name of a file is taken for a part of the page.
    let page = fs::read_to_string(folder.path("out/audit.html")).unwrap();
    assert!((2..=3).contains(&page.matches("data:image/").count()));
    assert!(page.contains("striped \\u003ci>, 1.png") && !page.contains("<i>"));

    // Nothing is replaced without leave; what was seen is remembered, and the same comes out.
    let (success, _, said) = lanet_live(&folder, AUDIT);
    assert!(!success && said.contains("audit.csv' exists already"), "{said}");
    assert!(folder.path("cache/features.safetensors").exists());
    assert!(lanet_live(&folder, &format!("{AUDIT} -y")).0);
    assert_eq!(fs::read_to_string(folder.path("out/audit.csv")).unwrap(), table);

    let right =
        "path,start,end,label\nhappiness/dark.png,,,sadness\n\"sadness/striped <i>, 1.png\",,,anger\n";
    fs::write(folder.path("right.csv"), right).unwrap();
    assert!(lanet_live(&folder, &format!("{AUDIT} -y --corrections right.csv")).0);
    let again = fs::read_to_string(folder.path("out/audit.csv")).unwrap();
    assert!(again.contains("happiness/dark.png,,,sadness,sadness,"), "{again}");
    let train = "train --data data --freeze backbone --start start.safetensors --size 32 --views 1 --epochs 2 --batch 16 \
                 --cache cache --output run";
    let (success, _, said) = lanet_live(&folder, &format!("{train} --corrections right.csv"));
    assert!(success, "{said}");
    let card = fs::read_to_string(folder.path("run/last/card.toml")).unwrap();
    assert!(card.contains("2 of them corrected"), "{card}");
    // A run with corrections does not go on without them.
    let (success, _, said) = lanet_live(&folder, &format!("{train} --resume"));
    assert!(!success && said.contains("other data"), "{said}");
}

#[test]
fn corrections_that_say_nothing_of_the_data_are_refused_by_name() {
    let folder = Scratch::new();
    painted_data(&folder.path("data"));
    for (corrections, expected) in [
        (
            "path,label\nanger/1.png,fear\nanger/99.png,fear\nx.png,fear\n",
            "name 'anger/99.png' and 1 more, which",
        ),
        ("path,start,end,label\nanger/1.png,0.5,1,fear\n", "name 'anger/1.png' from 0.5 to 1 s, which"),
        ("path,start,label\nanger/1.png,soon,fear\n", "line 2: 'soon' is no number of seconds"),
        ("path,label\nanger/1.png,feer\n", "line 2: no expression is called 'feer'"),
        ("path,label\nanger/1.png,fear\nanger/1.png,anger\n", "line 3 gives 'anger/1.png' a second label"),
        ("path,label\n,fear\n", "line 2 names no picture"),
        ("file,label\n", "its columns are file,label"),
    ] {
        fs::write(folder.path("c.csv"), corrections).unwrap();
        for command in ["train --output run", "audit --output out"] {
            let (success, _, said) =
                lanet_live(&folder, &format!("{command} --data data --cache cache --corrections c.csv"));
            assert!(!success && said.contains(expected) && said.trim().lines().count() == 1, "{said}");
        }
    }
}

#[test]
fn data_that_cannot_be_compared_are_refused() {
    let folder = Scratch::new();
    painted_start(&folder.path("start.safetensors"));
    painted_data(&folder.path("data"));
    fs::remove_dir_all(folder.path("data/anger")).unwrap();
    fs::remove_dir_all(folder.path("data/sadness")).unwrap();
    let (success, _, said) = lanet_live(&folder, AUDIT);
    assert!(!success && said.contains("all faces have one label"), "{said}");
    assert!(!folder.path("out/audit.csv").exists());
    (3..20).for_each(|n| fs::remove_file(folder.path(&format!("data/happiness/{n}.png"))).unwrap());
    let (success, _, said) = lanet_live(&folder, AUDIT);
    assert!(!success && said.contains("3 faces are too few"), "{said}");
    let (success, _, said) = lanet_live(&folder, "calibrate --data data --cache cache --output c.toml");
    assert!(!success && said.contains("3 faces are too few") && !folder.path("c.toml").exists(), "{said}");
}

#[test]
fn a_model_is_calibrated_where_it_will_be_read_and_only_once_without_leave() {
    let folder = Scratch::new();
    mislabelled(&folder);
    let train = "train --data data --freeze backbone --start start.safetensors --size 32 --views 1 --epochs 20 --batch 16 \
                 --rate 0.01 --output run";
    assert!(lanet_live(&folder, train).0);
    let calibrate = "calibrate --data data --model run/best";
    let (success, _, said) = lanet_live(&folder, calibrate);
    assert!(!success && said.contains("calibration.toml' exists already"), "{said}");
    // What is read is never written, and nothing twice.
    let picture = fs::read_dir(folder.path("data/anger")).unwrap().next().unwrap().unwrap().file_name();
    let picture = format!("data/anger/{}", picture.to_str().unwrap());
    let audit = "audit --data data --start run/best --output found";
    for (arguments, words) in [
        (format!("{calibrate} -y --output {picture}"), "both read and written"),
        (format!("{audit} -y --probabilities {picture}"), "both read and written"),
        (format!("{audit} --probabilities ./found/audit.csv"), "written twice"),
        ("evaluate --data data --model run/best --json z.json --faces ./z.json".into(), "written twice"),
    ] {
        let (success, _, said) = lanet_live(&folder, &arguments);
        assert!(!success && said.contains(words), "{arguments}: {said}");
    }
    let (success, told, said) = lanet_live(&folder, &format!("{calibrate} -y --scaling vector"));
    assert!(success && told.contains("on faces not fitted to") && told.contains(": vector"), "{said} {told}");
    let text = fs::read_to_string(folder.path("run/best/calibration.toml")).unwrap();
    assert!(text.contains("data, all, 60 faces") && text.contains("[vectors.usual]"), "{text}");
    let (success, told, _) = lanet_live(&folder, "evaluate --data data --model run/best");
    assert!(success && told.contains("at vector scaling"), "{told}");
    #[cfg(feature = "capture")]
    {
        let (success, _, said) = lanet_live(
            &folder,
            &format!("{calibrate} --output c.toml --diagram c.png --scaling temperature"),
        );
        assert!(success, "{said}");
        let image = lanet_live::images::read(&folder.path("c.png")).unwrap();
        assert_eq!((image.width(), image.height()), (1120, 600));
        assert!(!fs::read_to_string(folder.path("c.toml")).unwrap().contains("vectors"));
    }
}
