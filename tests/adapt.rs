//! A classifier that is adapted goes on to say of what it rehearses what it said.

use std::fs;

use crate::learning::{lanet_live, painted_data, painted_start};
use crate::scratch::Scratch;

fn done(folder: &Scratch, arguments: &str) -> String {
    let (success, told, said) = lanet_live(folder, arguments);
    assert!(success, "{arguments}: {said}");
    told + &said
}

/// A folder with painted pictures in `data` and a model that learnt them, `first/best`.
fn with_a_model() -> Scratch {
    let folder = Scratch::new();
    painted_start(&folder.path("start.safetensors"));
    painted_data(&folder.path("data"));
    done(
        &folder,
        "train --data data --freeze backbone --start start.safetensors --size 32 --views 1 --epochs 20 --batch 16 \
         --rate 0.01 --output first",
    );
    folder
}

/// The accuracy of a model on the pictures that the first one learnt from.
fn accuracy(folder: &Scratch, model: &str) -> f32 {
    let told = done(folder, &format!("evaluate --data data --model {model}"));
    let line = told.lines().find_map(|line| line.strip_prefix("accuracy")).unwrap();
    line.trim().parse().unwrap()
}

#[test]
fn what_is_rehearsed_is_not_forgotten_and_travels_with_the_model() {
    let folder = with_a_model();
    assert!(accuracy(&folder, "first/best") > 0.9);
    let choose = "rehearsal --data data --model first/best";
    for (more, expected) in [
        ("--faces 61", "of 60 faces 61 cannot be chosen; use --faces from 1 to 60"),
        ("--faces 0", "0 is not in 1..="),
        ("--split train", "have no part 'train'"),
        ("--model gone", "'gone' has no card.toml"),
    ] {
        let choose = if more.contains("--model") { "rehearsal --data data" } else { choose };
        let (success, _, said) = lanet_live(&folder, &format!("{choose} {more}"));
        assert!(!success && said.contains(expected), "{more}: {said}");
        assert!(!folder.path("first/best/rehearsal.safetensors").exists());
    }

    // The same pictures with their labels swapped: whoever learns them forgets the right ones.
    for (from, to) in [("sadness", "happiness"), ("happiness", "sadness")] {
        fs::create_dir_all(folder.path("other").join(to)).unwrap();
        for n in 0..20 {
            let file = format!("{n}.png");
            fs::copy(folder.path("data").join(from).join(&file), folder.path("other").join(to).join(&file))
                .unwrap();
        }
    }
    let learn = "train --data other --adapt on --views 1 --rate 0.01 --epochs 20";
    done(&folder, &format!("{learn} --start first/best --decay 0 --output without"));
    let chosen = done(&folder, &format!("{choose} --faces 30"));
    assert!(chosen.contains("features of 30 faces"), "{chosen}");
    let (success, _, said) = lanet_live(&folder, &format!("{choose} --faces 30"));
    assert!(!success && said.contains("rehearsal.safetensors' exists already"), "{said}");
    done(&folder, &format!("{learn} --start first/best --output with"));
    let (with, without) = (accuracy(&folder, "with/last"), accuracy(&folder, "without/last"));
    assert!(with > 0.9 && without < 0.5, "{with} {without}");
    let metrics = fs::read_to_string(folder.path("with/metrics.csv")).unwrap();
    let column = metrics.lines().next().unwrap().split(',').position(|name| name == "rehearsed").unwrap();
    let rehearsed = metrics.lines().last().unwrap().split(',').nth(column).unwrap();
    assert!(rehearsed.parse::<f64>().unwrap() > 0.0, "{metrics}");

    // It goes on with what it has become, and is not taken for that of other weights.
    assert!(!folder.path("without/last/rehearsal.safetensors").exists());
    done(&folder, &format!("{learn} --start with/last --output again"));
    assert!(accuracy(&folder, "again/last") > 0.9);
    done(&folder, &format!("{learn} --start with/last --rehearsal 0 --decay 0 --output off"));
    assert!(accuracy(&folder, "off/last") < 0.5);
    fs::copy(
        folder.path("first/best/rehearsal.safetensors"),
        folder.path("without/last/rehearsal.safetensors"),
    )
    .unwrap();
    let (success, _, said) = lanet_live(&folder, &format!("{learn} --start without/last --output none"));
    assert!(!success && said.contains("it is of other weights") && said.contains("make it again"), "{said}");
    fs::write(folder.path("with/last/rehearsal.safetensors"), "nothing").unwrap();
    let (success, _, said) = lanet_live(&folder, &format!("{learn} --start with/last --output none"));
    assert!(
        !success && said.contains("rehearses cannot be used") && said.contains("make it again"),
        "{said}"
    );
    let (success, _, said) = lanet_live(&folder, "train --data data --rehearsal 1 --batch 16 --output none");
    assert!(!success && said.contains("--adapt on"), "{said}");
}

#[test]
fn where_every_epoch_is_worse_than_the_start_the_start_is_the_best() {
    let folder = with_a_model();
    // What is learnt has its labels swapped, what is kept back has the right ones.
    let mut table = "path,label,split\n".to_owned();
    for (shown, label) in [("sadness", "happiness"), ("happiness", "sadness")] {
        for n in 0..20 {
            let (label, split) = if n < 14 { (label, "train") } else { (shown, "valid") };
            table += &format!("data/{shown}/{n}.png,{label},{split}\n");
        }
    }
    fs::write(folder.path("swapped.csv"), table).unwrap();
    let learn = "train --data swapped.csv --adapt on --start first/best --decay 0 --views 1 --rate 0.01 --output worse";
    let said = done(&folder, &format!("{learn} --epochs 5"));
    assert!(said.contains("as it starts: 1.0000 of validation"), "{said}");
    assert!(said.contains("worse/best: as it started, better than any epoch, 1.0000"), "{said}");
    let [best, last] = ["best", "last"].map(|model| accuracy(&folder, &format!("worse/{model}")));
    assert!(best > 0.9 && last < 0.5, "{best} {last}");
    let metrics = fs::read_to_string(folder.path("worse/metrics.csv")).unwrap();
    assert_eq!(metrics.lines().count(), 6, "{metrics}");
    let said = done(&folder, &format!("{learn} --resume"));
    assert!(said.contains("worse/best: as it started"), "{said}");
}
